CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, ARRAY_AGG(v) AS vs, ARRAY_AGG(kind) AS ks, ARRAY_AGG(DISTINCT v) AS d FROM events GROUP BY device;
