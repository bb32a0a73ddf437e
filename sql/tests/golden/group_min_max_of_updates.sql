-- The least and the greatest of values that go back.
CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT MIN(total) AS low, MAX(total) AS high, COUNT(*) AS n FROM (SELECT device, SUM(amount) AS total FROM t GROUP BY device);
