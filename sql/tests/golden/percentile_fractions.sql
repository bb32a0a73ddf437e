CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, PERCENTILE(v, ARRAY[0.0, 0.25, 0.5, 1.0]) AS p, PERCENTILE(v, ARRAY[0.9]) FILTER (WHERE kind = 'x') AS f FROM events GROUP BY device;
