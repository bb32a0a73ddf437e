CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/negatives.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, SUM(v) AS total, AVG(v) AS mean, MIN(v) AS low, MAX(v) AS high, SUM(amount) AS amounts, AVG(amount) AS mean_amount, MIN(x) AS low_x
FROM t GROUP BY device;
