SET 'table.local-time-zone' = 'Asia/Kolkata';
CREATE TABLE t (id INT, k STRING, lz TIMESTAMP_LTZ(3), WATERMARK FOR lz AS lz - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/instants.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, window_end, k, COUNT(*) AS n FROM TABLE(HOP(TABLE t, DESCRIPTOR(lz), INTERVAL '6' HOUR, INTERVAL '12' HOUR)) GROUP BY window_start, window_end, k;
