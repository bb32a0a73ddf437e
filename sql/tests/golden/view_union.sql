CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW hot AS SELECT device, ts, temperature FROM readings WHERE temperature > 30;
CREATE VIEW cold(d, t, x) AS SELECT device, ts, temperature FROM readings WHERE temperature < 21;
SELECT device, window_start, COUNT(*) AS c FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY device, window_start, window_end
UNION ALL SELECT device, ts, CAST(0 AS BIGINT) FROM hot UNION ALL SELECT d, t, CAST(-1 AS BIGINT) FROM cold;
