CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.device, COUNT(*) AS n FROM readings a JOIN readings b ON a.device = b.device GROUP BY a.device, TUMBLE(a.ts, INTERVAL '10' SECOND);
