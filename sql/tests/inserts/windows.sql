CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE o (device STRING, window_start TIMESTAMP(3), n INT, mean DECIMAL(10, 2)) WITH ('connector' = 'filesystem', 'path' = '${OUT}/o/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
INSERT INTO o SELECT device, window_start, CAST(COUNT(*) AS INT), AVG(amount) FROM TABLE(TUMBLE(TABLE e, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end;
