CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT n, COUNT(*) AS devices FROM (SELECT device, COUNT(*) AS n FROM (SELECT device, note, SUM(v) AS total FROM t GROUP BY device, note) GROUP BY device) GROUP BY n;
