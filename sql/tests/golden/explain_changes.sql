CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE totals (device STRING, n BIGINT) WITH ('connector' = 'print');
EXPLAIN INSERT INTO totals SELECT device, n FROM (SELECT device, COUNT(*) AS n FROM events GROUP BY device) WHERE n > 3;
