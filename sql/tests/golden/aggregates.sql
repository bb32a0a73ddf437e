CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_end, STDDEV_POP(temperature) AS sp, STDDEV_SAMP(temperature) AS ss, VAR_POP(temperature) AS vp, VAR_SAMP(temperature) AS vs,
 FIRST_VALUE(n) AS f, LAST_VALUE(n) AS l, COUNT(DISTINCT device) AS devices, COUNT(*) FILTER (WHERE temperature > 25) AS hot, AVG(n) AS mean_n
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
