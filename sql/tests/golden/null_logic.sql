CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, b AND i > 0 AS a, b OR i > 0 AS c, NOT b AS e, b IS TRUE AS g, b IS NOT TRUE AS h, b IS FALSE AS j, b IS NOT FALSE AS l, b IS UNKNOWN AS n, b IS NOT UNKNOWN AS o, b = (i > 0) AS p, i = NULL AS q, (i > 0) IS NULL AS r,
  i IS DISTINCT FROM 0 AS u, i IS NOT DISTINCT FROM NULL AS v FROM t;
