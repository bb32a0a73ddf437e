CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT n, COUNT(*) AS devices, MIN(total) AS low, MAX(total) AS high, SUM(total) AS total, COUNT(DISTINCT last) AS lasts
FROM (SELECT device, kind, COUNT(*) / 5 AS n, SUM(v) AS total, MAX(v) AS last FROM events GROUP BY device, kind) GROUP BY n;
