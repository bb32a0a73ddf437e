CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, CAST(d AS INT) AS c, CAST(d AS BIGINT) AS e, CAST(d AS SMALLINT) AS g, CAST(f AS INT) AS h, CAST(f AS BIGINT) AS l, CAST(d AS DECIMAL(38, 2)) AS m, CAST(d AS STRING) AS o FROM t WHERE id IN (0, 3);
