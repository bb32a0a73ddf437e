CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, IS_ALPHA(s) AS a, IS_DIGIT(s) AS b, IS_DECIMAL(s) AS c, IS_DIGIT(vc) AS e, IS_DECIMAL('-1.5') AS g, STARTSWITH(s, '') AS h, ENDSWITH(s, vc) AS l, ELT(2, s, vc) AS m, ELT(9, s, vc) AS n FROM t;
