CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW w AS SELECT device, window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND)) GROUP BY device, window_start, window_end;
CREATE VIEW busy AS SELECT * FROM w WHERE n > 1;
SELECT device, window_start, n FROM busy;
