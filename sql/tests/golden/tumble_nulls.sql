CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, window_start, COUNT(*) AS n, COUNT(v) AS known, SUM(v) AS total, AVG(v) AS mean, MIN(x) AS low, MAX(amount) AS high,
  COUNT(DISTINCT note) AS notes, SUM(v) FILTER (WHERE note IS NULL) AS unnoted
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end;
