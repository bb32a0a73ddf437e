CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), p AS PROCTIME())
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY p DESC) AS rn FROM events) WHERE rn <= 1;
