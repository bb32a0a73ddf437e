CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, window_end, COUNT(*) AS readings
FROM TABLE(HOP(DATA => TABLE readings, TIMECOL => DESCRIPTOR(ts), SLIDE => INTERVAL '5' SECONDS, SIZE => INTERVAL '10' SECONDS))
GROUP BY window_start, window_end HAVING COUNT(*) > 2;
