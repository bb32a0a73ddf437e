CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, s LIKE 'a%' AS a, s LIKE '_' AS b, s LIKE '%' AS c, s NOT LIKE '%b%' AS e, s LIKE '' AS g, s LIKE 'A__' AS h, s LIKE 'é__%' AS l, 'a%b' LIKE 'a!%b' ESCAPE '!' AS m, 'a_b' LIKE 'a\\_b' AS n, 'axb' LIKE 'a_b' AS o, s LIKE vc AS p, 'a.c' LIKE 'a.c' AS q, 'abc' LIKE 'a.c' AS r FROM t;
