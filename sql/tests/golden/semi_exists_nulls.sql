CREATE TABLE l (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE r (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/duplicates.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, device, v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.device = l.device AND r.v = l.v);
