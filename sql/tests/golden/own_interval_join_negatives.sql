CREATE TABLE l (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/negatives.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE r (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/negatives.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT l.id, r.id AS other, l.v FROM l JOIN r ON l.device = r.device AND l.ts BETWEEN r.ts - INTERVAL '4' SECOND AND r.ts;
