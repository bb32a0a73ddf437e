CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, v, note FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY ts DESC) AS rn FROM t) WHERE rn = 1;
