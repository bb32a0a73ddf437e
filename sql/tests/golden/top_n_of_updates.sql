CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, kind, n, rn FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY n DESC, device) AS rn FROM
  (SELECT device, kind, COUNT(*) AS n FROM events GROUP BY device, kind)) WHERE rn <= 2;
