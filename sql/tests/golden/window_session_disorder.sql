CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, window_start, window_end, window_time, COUNT(*) AS c, SUM(n) AS total FROM TABLE(SESSION(TABLE mixed PARTITION BY device, DESCRIPTOR(ts), INTERVAL '6' SECOND))
GROUP BY device, window_start, window_end, window_time;
