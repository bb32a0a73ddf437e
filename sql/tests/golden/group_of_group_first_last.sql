CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT kind, FIRST_VALUE(n) AS first_n, LAST_VALUE(n) AS last_n, MIN(n) AS low FROM (SELECT kind, COUNT(*) AS n FROM events GROUP BY kind) GROUP BY kind;
