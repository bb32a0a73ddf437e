CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, STDDEV_POP(x) OVER w AS sp, VAR_SAMP(x) OVER w AS vs FROM t WINDOW w AS (PARTITION BY device ORDER BY ts ROWS BETWEEN 3 PRECEDING AND CURRENT ROW);
