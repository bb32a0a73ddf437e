CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, SUM(tiny) AS a, SUM(n) AS b, SUM(big) AS c, SUM(x) AS d, SUM(price) AS e, SUM(CAST(x AS FLOAT)) AS f, SUM(price * 2) AS g, SUM(n * 1.5) AS h FROM TABLE(TUMBLE(TABLE mixed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
