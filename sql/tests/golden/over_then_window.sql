CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, MAX(total) AS most FROM TABLE(TUMBLE((SELECT ts, SUM(v) OVER (PARTITION BY device ORDER BY ts) AS total FROM events), DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
