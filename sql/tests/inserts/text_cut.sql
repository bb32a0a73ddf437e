CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE o (id INT, note VARCHAR(20), device STRING) WITH ('connector' = 'filesystem', 'path' = '${OUT}/o/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
INSERT INTO o SELECT id, note, device FROM e;
