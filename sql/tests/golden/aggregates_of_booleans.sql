CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, MIN(v > 5) AS all_high, MAX(v > 5) AS any_high, COUNT(v > 5) AS known, FIRST_VALUE(x > 0) AS first_positive FROM t GROUP BY device;
