CREATE TABLE readings (device STRING, at_time STRING, n INT, ts AS TO_TIMESTAMP(at_time, 'yyyy-MM-dd''T''HH:mm:ss'), WATERMARK FOR ts AS ts - INTERVAL '0:05' MINUTE TO SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/epochs.jsonl', 'format' = 'json');
SELECT device, window_start, window_end, MIN(ts) AS first_ts, MAX(ts) AS last_ts, COUNT(*) AS c
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '0:10' MINUTE TO SECOND)) GROUP BY device, window_start, window_end;
