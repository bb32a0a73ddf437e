CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, GROUPING(device) AS g, COUNT(*) AS n, SUM(s) AS s FROM (SELECT device, kind, SUM(v) AS s FROM events GROUP BY device, kind) GROUP BY ROLLUP (device);
