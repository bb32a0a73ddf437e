CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, kind, COUNT(DISTINCT v) AS kinds, SUM(DISTINCT v) AS distinct_total, COUNT(*) FILTER (WHERE v > 3) AS big,
    COUNT(DISTINCT v) FILTER (WHERE v > 3) AS big_kinds FROM events GROUP BY device, kind;
