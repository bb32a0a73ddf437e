CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/disorder.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT UPPER(device) AS d, v / 3 AS third, FLOOR(x) AS whole, COUNT(*) AS n, SUM(amount) AS total FROM t GROUP BY UPPER(device), v / 3, FLOOR(x);
