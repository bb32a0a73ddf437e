CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT TUMBLE_END(rt, INTERVAL '20' SECOND) AS ends, SUM(readings) AS readings, COUNT(*) AS devices
FROM (
  SELECT device, TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND) AS rt, COUNT(*) AS readings
  FROM readings GROUP BY device, TUMBLE(ts, INTERVAL '10' SECOND)
) AS tens
GROUP BY TUMBLE(rt, INTERVAL '20' SECOND);
