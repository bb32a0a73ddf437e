CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT kind, PERCENTILE(CAST(v AS DOUBLE) / 4, 0.25) AS d, PERCENTILE(CAST(v AS DECIMAL(10, 2)) * 1.15, 0.75) AS m, PERCENTILE(CAST(v AS INT), 0.1) AS i, PERCENTILE(CAST(v AS FLOAT) / 3, 0.6) AS f FROM events GROUP BY kind;
