CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT CHAR_LENGTH(device) AS width, HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), MAX(temperature) AS high
FROM readings
GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), CHAR_LENGTH(device)
HAVING COUNT(*) > 1 AND HOP_END(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND) > TIMESTAMP '2026-01-01 00:00:10';
