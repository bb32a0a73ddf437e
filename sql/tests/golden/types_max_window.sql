CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, MAX(ti) AS ti, MAX(si) AS si, MAX(i) AS i, MAX(bi) AS bi, MAX(f) AS f, MAX(d) AS d, MAX(m4) AS m4, MAX(m) AS m, MAX(m38) AS m38, MAX(s) AS s, MAX(vc) AS vc, MAX(b) AS b,
  MAX(dt) AS dt, MAX(tm) AS tm, MAX(t3) AS t3, CAST(MAX(t6) AS STRING) AS t6 FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
