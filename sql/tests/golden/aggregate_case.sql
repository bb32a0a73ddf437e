CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, SUM(CASE WHEN n > 2 THEN n ELSE 0 END) AS a, COUNT(CASE WHEN x > 1 THEN 1 END) AS b, CASE WHEN COUNT(*) > 3 THEN 'many' ELSE 'few' END AS c, MAX(CASE WHEN ok THEN name ELSE 'none' END) AS d FROM TABLE(TUMBLE(TABLE mixed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
