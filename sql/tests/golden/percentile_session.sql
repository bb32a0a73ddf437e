CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, window_end, device, PERCENTILE(v, 0.7) AS p FROM TABLE(SESSION(TABLE events PARTITION BY device, DESCRIPTOR(ts), INTERVAL '4' SECOND)) GROUP BY window_start, window_end, device;
