SET 'table.local-time-zone' = 'Asia/Kolkata';
CREATE TABLE t (id INT, k STRING, lz TIMESTAMP_LTZ(3), WATERMARK FOR lz AS lz - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/instants.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(lz), INTERVAL '1' DAY)) GROUP BY window_start, window_end;
