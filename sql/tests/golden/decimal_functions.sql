CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, ABS(m4) AS a, SIGN(m4) AS b, ROUND(m4, 0) AS c, ROUND(m, 2) AS e, FLOOR(m) AS f, CEIL(m) AS g, TRUNCATE(m, 1) AS h, -m AS i, ROUND(m4, -1) AS j, ABS(m38) AS l,
  TYPEOF(ROUND(m, 2)) AS tr, TYPEOF(FLOOR(m)) AS tf, TYPEOF(TRUNCATE(m, 1)) AS tt, TYPEOF(SIGN(m4)) AS ts FROM t;
