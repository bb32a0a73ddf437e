CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW per_device AS SELECT device, window_time AS rowtime, MAX(temperature) AS high
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end, window_time;
SELECT window_start, window_end, COUNT(*) AS devices, MAX(high) AS high FROM TABLE(TUMBLE(TABLE per_device, DESCRIPTOR(rowtime), INTERVAL '20' SECOND))
GROUP BY window_start, window_end;
