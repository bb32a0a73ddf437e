CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, MIN(name) AS a, MAX(name) AS b, MIN(ts) AS c, MAX(ts) AS d, MIN(price) AS g, MAX(price) AS h, MIN(tiny) AS i, MAX(tiny) AS j, MIN(big) AS k, MAX(big) AS l, MIN(CAST(ts AS DATE)) AS m FROM TABLE(TUMBLE(TABLE mixed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
