CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, COUNT(*) AS n, COUNT(v) AS known, SUM(v) AS total, AVG(v) AS mean, MIN(v) AS low, MAX(x) AS high, SUM(amount) AS amounts,
  COUNT(DISTINCT note) AS notes, FIRST_VALUE(note) AS f, LAST_VALUE(note) AS l
FROM t GROUP BY device;
