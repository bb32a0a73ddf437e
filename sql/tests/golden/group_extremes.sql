CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/extremes.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, COUNT(*) AS n, SUM(v) AS wrapped, SUM(CAST(v AS BIGINT)) AS total, AVG(v) AS mean, SUM(amount) AS amounts, AVG(amount) AS mean_amount,
  MIN(x) AS low, MAX(x) AS high, MAX(note) AS note
FROM t GROUP BY device;
