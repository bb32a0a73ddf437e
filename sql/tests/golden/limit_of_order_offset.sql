CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/duplicates.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, amount FROM t ORDER BY amount, id LIMIT 4 OFFSET 3;
