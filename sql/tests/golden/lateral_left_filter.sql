CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.device, b.id FROM (SELECT DISTINCT device FROM events) a LEFT JOIN LATERAL (SELECT id FROM events WHERE device = a.device AND v > 14 AND id > 40) b ON TRUE;
