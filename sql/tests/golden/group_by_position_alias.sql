CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/disorder.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT SUBSTRING(note, 1, 1) AS first_char, COUNT(*) AS n FROM t GROUP BY SUBSTRING(note, 1, 1);
