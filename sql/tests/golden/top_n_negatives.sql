CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/negatives.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, x, amount FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY x, amount DESC, id) AS rn FROM t) WHERE rn <= 3;
