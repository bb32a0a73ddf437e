CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE o (id INT, r ROW<a BIGINT, b STRING>, l ARRAY<BIGINT>) WITH ('connector' = 'filesystem', 'path' = '${OUT}/o/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
INSERT INTO o SELECT id, ROW(v, device), ARRAY[v, id] FROM e;
