CREATE TABLE c (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, (device, v) IN (('a', 0), ('b', 6), ('n', 1)) AS is_in, (device, v) NOT IN (('a', 0), ('b', 6)) AS is_not FROM c;
