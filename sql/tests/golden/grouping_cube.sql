CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, kind, GROUPING(device) AS gd, GROUPING(kind) AS gk, GROUPING_ID(device, kind) AS g, MAX(v) AS m, COUNT(DISTINCT v) AS d FROM events GROUP BY CUBE (device, kind);
