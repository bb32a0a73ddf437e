CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW w AS SELECT device, window_time AS rt, COUNT(*) AS n, SUM(v) AS total FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY device, window_start, window_end, window_time;
SELECT window_start, window_end, SUM(n) AS n, SUM(total) AS total, COUNT(DISTINCT device) AS devices FROM TABLE(TUMBLE(TABLE w, DESCRIPTOR(rt), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
