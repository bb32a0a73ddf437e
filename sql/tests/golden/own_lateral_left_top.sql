CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.kind, b.id, b.v FROM (SELECT DISTINCT kind FROM events) a LEFT JOIN LATERAL (SELECT id, v FROM events WHERE kind = a.kind AND v > 12 AND id > 55 ORDER BY v DESC, id LIMIT 2) b ON TRUE;
