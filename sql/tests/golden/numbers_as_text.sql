CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, CAST(i AS STRING) || '%' AS a, CAST(d / 3 AS STRING) AS b, CAST(f AS STRING) AS c, CAST(m4 / 3 AS STRING) AS e, CAST(m38 AS STRING) AS g, CAST(CAST(d AS DECIMAL(30, 3)) AS STRING) AS h, CHAR_LENGTH(CAST(bi AS STRING)) AS l FROM t WHERE id NOT IN (0, 3);
