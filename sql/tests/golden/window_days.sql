CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/extremes.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW v AS SELECT * FROM t WHERE id BETWEEN 4 AND 7;
SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '1' DAY)) GROUP BY window_start, window_end;
