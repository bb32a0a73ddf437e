CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/extremes.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW before_the_last AS SELECT * FROM t WHERE id < 8;
SELECT CAST(window_start AS STRING) AS s, CAST(window_end AS STRING) AS e, CAST(window_time AS STRING) AS wt, COUNT(*) AS n, MAX(id) AS last_id
FROM TABLE(TUMBLE(TABLE before_the_last, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time;
