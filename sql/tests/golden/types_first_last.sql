CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT k, FIRST_VALUE(ti) AS ti, LAST_VALUE(bi) AS bi, FIRST_VALUE(f) AS f, LAST_VALUE(m38) AS m38, FIRST_VALUE(s) AS s, LAST_VALUE(b) AS b, FIRST_VALUE(dt) AS dt, LAST_VALUE(tm) AS tm, CAST(FIRST_VALUE(t6) AS STRING) AS t6 FROM t GROUP BY k;
