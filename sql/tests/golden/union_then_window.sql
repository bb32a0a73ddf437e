CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW either_one AS SELECT device, ts, n FROM mixed WHERE ok AND name <> 'late' UNION ALL SELECT device, ts, n + 100 FROM mixed WHERE NOT ok AND name <> 'late2';
SELECT device, window_start, COUNT(*) AS c, SUM(n) AS total FROM TABLE(TUMBLE(TABLE either_one, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end;
