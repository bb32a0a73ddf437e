CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, SESSION_START(readings.ts, INTERVAL '5' SECOND) AS starts, SESSION_END(ts, INTERVAL '5' SECOND) AS ends, COUNT(*) AS readings
FROM readings
GROUP BY device, SESSION(ts, INTERVAL '5' SECOND);
