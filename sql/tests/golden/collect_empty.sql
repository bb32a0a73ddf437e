CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/empty.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT COLLECT(note) AS notes, COUNT(*) AS n FROM e;
