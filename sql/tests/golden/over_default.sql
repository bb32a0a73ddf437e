CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, device, ts, SUM(v) OVER w AS total, COUNT(*) OVER w AS n, MIN(v) OVER w AS low, AVG(v) OVER w AS mean FROM events
WINDOW w AS (PARTITION BY device ORDER BY ts);
