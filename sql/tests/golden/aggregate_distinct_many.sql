CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, COUNT(DISTINCT device) AS a, COUNT(DISTINCT n) AS b, COUNT(DISTINCT ok) AS c, COUNT(DISTINCT price) AS d, SUM(DISTINCT n) AS e FROM TABLE(TUMBLE(TABLE mixed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
