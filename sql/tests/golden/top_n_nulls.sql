-- NULL stands below every value, and so last where the greatest come first.
CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY v DESC, id) AS rn FROM t) WHERE rn <= 3;
