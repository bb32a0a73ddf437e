CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, SUM(CASE WHEN note = 'red' THEN 1 ELSE 0 END) AS reds, AVG(CASE WHEN v > 0 THEN x END) AS mean, COUNT(CASE WHEN v IS NULL THEN 1 END) AS not_known, MAX(CASE note WHEN 'red' THEN amount ELSE -amount END) AS most FROM t GROUP BY device;
