CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, m4 + m AS p, m4 - m AS q, m38 + m AS r, m + 1 AS t, m - bi AS u, m4 + ti AS v, m4 + d AS w, TYPEOF(m4 + m) AS tp, TYPEOF(m38 + m) AS tr, TYPEOF(m + 1) AS tt, TYPEOF(m - bi) AS tu, TYPEOF(m4 + ti) AS tv, TYPEOF(m4 + d) AS tw FROM t;
