CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/duplicates.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW renamed (who, many) AS SELECT device, COUNT(*) FROM t GROUP BY device;
SELECT who, many + 1 AS more FROM renamed WHERE many > 1;
