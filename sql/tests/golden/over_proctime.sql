CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME())
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, SUM(v) OVER (PARTITION BY device ORDER BY p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS total, COUNT(*) OVER (PARTITION BY device ORDER BY p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS n FROM events;
