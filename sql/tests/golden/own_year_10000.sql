-- The last window of the year 9999 ends in another, of five digits.
CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/extremes.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT CAST(window_end AS STRING) AS e, window_end, COUNT(*) AS n
FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end;
