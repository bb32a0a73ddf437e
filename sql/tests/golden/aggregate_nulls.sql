CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, window_start, COUNT(*) AS c, COUNT(x) AS cx, COUNT(n) AS cn, SUM(x) AS sx, SUM(n) AS sn, AVG(x) AS ax, AVG(n) AS an, MIN(x) AS mnx, MAX(x) AS mxx, MIN(n) AS mnn, MAX(n) AS mxn,
 STDDEV_POP(x) AS sp, STDDEV_SAMP(x) AS ss, VAR_POP(x) AS vp, VAR_SAMP(x) AS vs, COUNT(DISTINCT n) AS dn, COUNT(DISTINCT name) AS dname
FROM TABLE(TUMBLE(TABLE mixed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end;
