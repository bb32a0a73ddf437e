CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT e.id, t.tag FROM events AS e JOIN (SELECT tag FROM UNNEST(ARRAY['y', 'z']) AS u (tag)) AS t ON e.kind = t.tag;
