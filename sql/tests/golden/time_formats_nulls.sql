CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, DATE_FORMAT(t3, 'yyyy-MM-dd HH:mm:ss.SSS') AS a, DATE_FORMAT(t3, 'EEE, d MMM yy') AS b, DATE_FORMAT(lz, 'yyyyMMddHHmm') AS c, TO_DATE(CAST(dt AS STRING)) AS e, TO_TIMESTAMP(CAST(t3 AS STRING)) AS g, UNIX_TIMESTAMP(CAST(t3 AS STRING)) AS h, FROM_UNIXTIME(i) AS l, CAST(TO_TIMESTAMP_LTZ(i, 3) AS STRING) AS m FROM t;
