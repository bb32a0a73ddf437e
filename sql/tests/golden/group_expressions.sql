CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT UPPER(device) || '-' || kind AS name, MOD(v, 3) AS rest, SUM(v * 2 + 1) - COUNT(*) AS x FROM events WHERE v IS NOT NULL
GROUP BY UPPER(device) || '-' || kind, MOD(v, 3);
