CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT CASE WHEN v > 5 THEN 'high' WHEN v >= 0 THEN 'low' ELSE 'none' END AS class, COUNT(*) AS n, COUNT(device) AS known FROM t
GROUP BY CASE WHEN v > 5 THEN 'high' WHEN v >= 0 THEN 'low' ELSE 'none' END;
