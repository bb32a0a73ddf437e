CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, SUM(v * x) AS vx, SUM(v) * 1.0 / COUNT(*) AS ratio, MAX(v) - MIN(v) AS spread, AVG(amount * 2) AS mean, SUM(amount) / SUM(v) AS per_v, COUNT(DISTINCT v / 3) AS thirds FROM t GROUP BY device;
