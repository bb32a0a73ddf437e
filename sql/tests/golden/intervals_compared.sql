CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/disorder.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, ts + INTERVAL '1' MINUTE > TIMESTAMP '2026-01-01 00:01:10' AS a, ts BETWEEN TIMESTAMP '2026-01-01 00:00:05' AND TIMESTAMP '2026-01-01 00:00:15' AS b, CAST(ts - INTERVAL '0 00:00:01.500' DAY TO SECOND AS STRING) AS c, CAST(ts + INTERVAL '1-2' YEAR TO MONTH AS STRING) AS e FROM t;
