CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW good AS SELECT device, ts, n, info.site AS site FROM mixed WHERE n IS NOT NULL;
CREATE VIEW high (d, t, v, s) AS SELECT device, ts, n * 10, site FROM good WHERE n > 1;
CREATE VIEW totals AS SELECT d, s, window_start AS ws, window_end AS we, SUM(v) AS total FROM TABLE(TUMBLE(TABLE high, DESCRIPTOR(t), INTERVAL '10' SECOND)) GROUP BY d, s, window_start, window_end;
SELECT d, ws, total + 1 AS more FROM totals WHERE total > 20 OR d IS NULL;
