-- A condition beside the key decides what matches, and what stays alone.
CREATE TABLE l (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/duplicates.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE r (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/disorder.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT l.id, r.id AS other, l.v, r.v AS other_v FROM l FULL JOIN r ON l.id = r.id AND l.v < r.v;
