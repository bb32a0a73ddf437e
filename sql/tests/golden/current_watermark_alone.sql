CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT COALESCE(CURRENT_WATERMARK(ts), TIMESTAMP '2000-01-01 00:00:00') AS w FROM events WHERE v > 3;
