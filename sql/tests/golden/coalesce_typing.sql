CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, COALESCE(ti, 5) AS a, COALESCE(i, bi, 0) AS c, COALESCE(m4, m, 1) AS e, COALESCE(s, 'none') AS g, COALESCE(CAST(NULL AS INT), i, -1) AS h, COALESCE(d, i) AS l, IFNULL(i, 9) AS m, IFNULL(s, vc) AS n, NULLIF(i, 1) AS o, NULLIF(s, '') AS p, NULLIF(k, 'a') AS q, IF(b, i, -1) AS r, IF(i > 0, 'pos', 'not') AS u,
  TYPEOF(COALESCE(ti, bi)) AS tv, TYPEOF(COALESCE(m4, m)) AS tw FROM t;
