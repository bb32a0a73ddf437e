CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, APPROX_COUNT_DISTINCT(v) AS n, APPROX_COUNT_DISTINCT(kind) FILTER (WHERE v > 3) AS kinds, APPROX_COUNT_DISTINCT(DISTINCT v) AS d FROM events GROUP BY device;
