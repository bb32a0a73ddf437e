CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, FIRST_VALUE(v) AS fv, LAST_VALUE(v) AS lv, FIRST_VALUE(amount) AS fa, LAST_VALUE(amount) AS la FROM t GROUP BY device;
