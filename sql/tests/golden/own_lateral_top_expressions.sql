CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.kind, a.device, b.twice FROM (SELECT DISTINCT kind, device FROM events WHERE v > 2) AS a CROSS JOIN LATERAL (SELECT v * 2 AS twice FROM events e WHERE e.device = a.device AND a.kind = e.kind AND e.v > 1 ORDER BY e.id LIMIT 3) b;
