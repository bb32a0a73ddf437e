CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, window_start, window_end, COUNT(*) AS c FROM TABLE(HOP(TABLE mixed, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '15' SECOND, INTERVAL '2' SECOND))
GROUP BY device, window_start, window_end;
