CREATE TABLE readings (device STRING, ms BIGINT, n INT, ts AS TO_TIMESTAMP_LTZ(ms, 3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/epochs.jsonl', 'format' = 'json');
SELECT device, DATE_FORMAT(window_start, 'HH:mm:ss') AS s, window_end, COUNT(*) AS c, SUM(n) AS total
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end;
