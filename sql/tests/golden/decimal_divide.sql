CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, m4 / 3 AS p, m / 7 AS q, m / CAST(0.3 AS DECIMAL(3, 1)) AS r, 1 / CAST(3 AS DECIMAL(5, 2)) AS t, TYPEOF(m4 / 3) AS tp, TYPEOF(m / 7) AS tq, TYPEOF(m / NULLIF(m4, 0)) AS tr, TYPEOF(m38 / NULLIF(m, 0)) AS tt, TYPEOF(m4 / NULLIF(d, 0)) AS tu FROM t;
