CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, (dt, INTERVAL '10' DAY) OVERLAPS (DATE '2024-03-01', INTERVAL '5' DAY) AS a, (t3, t3 + INTERVAL '1' HOUR) OVERLAPS (TIMESTAMP '2024-02-29 12:30:00', TIMESTAMP '2024-02-29 13:00:00') AS b FROM t WHERE id <> 0;
