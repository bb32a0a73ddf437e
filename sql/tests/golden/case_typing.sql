-- The branches of CASE have one type, the widest.
CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, CASE WHEN b THEN ti ELSE bi END AS a, CASE WHEN b THEN i ELSE m4 END AS c, CASE WHEN b THEN i WHEN i > 0 THEN d END AS e, CASE k WHEN 'a' THEN 1 WHEN 'b' THEN 2.5 ELSE NULL END AS g, CASE WHEN i IS NULL THEN 'none' WHEN i < 0 THEN s ELSE 'some' END AS h,
  CASE WHEN FALSE THEN 1 END AS l, CASE i WHEN NULL THEN 'null' ELSE 'other' END AS m, TYPEOF(CASE WHEN b THEN ti ELSE bi END) AS tn, TYPEOF(CASE WHEN b THEN i ELSE m4 END) AS tp, TYPEOF(CASE WHEN b THEN m4 ELSE m END) AS tq, TYPEOF(CASE WHEN b THEN d ELSE m END) AS tr FROM t;
