CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.device, (SELECT COUNT(*) FROM events WHERE device = a.device AND v > 12 AND kind = 'x' AND id > 30) AS n FROM (SELECT DISTINCT device FROM events) a;
