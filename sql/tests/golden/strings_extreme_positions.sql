CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, SUBSTRING(s, 0) AS a, SUBSTRING(s, -2) AS b, SUBSTRING(s, 2, 0) AS c, SUBSTRING(s, 10) AS e, LEFT(s, 0) AS g, LEFT(s, -1) AS h, RIGHT(s, 100) AS l, LPAD(s, 0, 'x') AS m, LPAD(s, 2, '') AS n, REPEAT(s, 0) AS o, REPEAT(s, -1) AS p, SPLIT_INDEX(s, 'b', 5) AS q, SUBSTRING(s, 1, -1) AS r FROM t;
