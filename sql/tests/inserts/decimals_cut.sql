CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE o (id INT, amount DECIMAL(8, 1), sum_of DECIMAL(20, 4)) WITH ('connector' = 'filesystem', 'path' = '${OUT}/o/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
INSERT INTO o SELECT id, amount, amount * 2 FROM e;
