CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, ROUND(si, -2) AS a, ROUND(i, -9) AS b, ROUND(ti, 1) AS c, ROUND(m4, 0) AS e, ROUND(-2.5, 0) AS g, ROUND(2.5, 0) AS h, FLOOR(-0.5) AS l, CEIL(-0.5) AS m, ROUND(CAST(2.675 AS DOUBLE), 2) AS n, TRUNCATE(-1.999, 2) AS o, ROUND(bi, -3) AS p FROM t WHERE id NOT IN (0, 3);
