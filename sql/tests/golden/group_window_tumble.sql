CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT r.device, TUMBLE_START(r.ts, INTERVAL '10' SECOND) AS starts, TUMBLE_END(r.ts, INTERVAL '10' SECOND) AS ends,
  TUMBLE_ROWTIME(ts, INTERVAL '10' SECOND) AS rowtime, COUNT(*) AS readings, SUM(n) AS total
FROM readings r
WHERE r.temperature IS NOT NULL
GROUP BY r.device, TUMBLE(r.ts, INTERVAL '10' SECOND);
