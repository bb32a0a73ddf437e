CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW sorted AS SELECT id, v, ts FROM events ORDER BY ts;
SELECT id FROM sorted WHERE v > 3;
