CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, temperature * 2, n + 1 AS m, CASE WHEN n > 3 THEN 'high' ELSE 'low' END AS class FROM readings WHERE device = 'a' AND temperature > 21;
