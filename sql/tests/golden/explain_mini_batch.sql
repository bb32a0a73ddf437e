SET 'table.exec.mini-batch.enabled' = 'true';
SET 'table.exec.mini-batch.allow-latency' = '2 s';
SET 'table.exec.mini-batch.size' = '100';
CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
EXPLAIN SELECT * FROM (SELECT device, n, ROW_NUMBER() OVER (ORDER BY n DESC) AS rn FROM (SELECT device, COUNT(*) AS n FROM events GROUP BY device)) WHERE rn <= 2;
