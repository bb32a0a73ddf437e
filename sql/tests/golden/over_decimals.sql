CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/extremes.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, SUM(amount) OVER w AS total, AVG(amount) OVER w AS mean, SUM(v) OVER w AS wrapped FROM t WHERE id > 5 WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 1 PRECEDING AND CURRENT ROW);
