CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT PERCENTILE(n, 0.5) AS middle, PERCENTILE(total, 0.8) AS high FROM (SELECT device, COUNT(*) AS n, SUM(v) AS total FROM events GROUP BY device);
