CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, COUNT(*) FILTER (WHERE v > 3) AS many, SUM(v) FILTER (WHERE note = 'red') AS red, MIN(x) FILTER (WHERE note <> '') AS low,
  COUNT(DISTINCT note) FILTER (WHERE amount > 0) AS notes
FROM t GROUP BY device;
