CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, v FROM (SELECT id, v, ROW_NUMBER() OVER (ORDER BY v * -1 DESC, id) AS rn FROM events WHERE v IS NOT NULL) WHERE rn <= 5;
