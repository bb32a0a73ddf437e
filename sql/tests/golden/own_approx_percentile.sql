CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT kind, APPROX_PERCENTILE(v, 0.5) AS middle, APPROX_PERCENTILE(v - 5.5, 0.1) AS low FROM events GROUP BY kind;
