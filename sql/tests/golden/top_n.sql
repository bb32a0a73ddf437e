CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY v DESC, id ASC) AS rn FROM events) WHERE rn <= 3;
