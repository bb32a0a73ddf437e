CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, PERCENTILE(v, 0.5) AS middle, PERCENTILE(v, 0.9) AS high, PERCENTILE(v, 0) AS least, PERCENTILE(v, 1) AS most FROM events GROUP BY device;
