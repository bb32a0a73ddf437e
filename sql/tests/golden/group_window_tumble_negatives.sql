CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/negatives.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT TUMBLE_START(ts, INTERVAL '7' SECOND) AS s, TUMBLE_ROWTIME(ts, INTERVAL '7' SECOND) AS rt, COUNT(*) AS n, MIN(v) AS low FROM t
GROUP BY TUMBLE(ts, INTERVAL '7' SECOND);
