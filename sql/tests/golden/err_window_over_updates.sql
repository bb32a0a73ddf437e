CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, window_end, COUNT(*) FROM TABLE(TUMBLE((SELECT MAX(ts) AS ts FROM events GROUP BY device), DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
