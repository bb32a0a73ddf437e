CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/duplicates.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, COUNT(DISTINCT id) AS ids, COUNT(DISTINCT note) AS notes, SUM(DISTINCT v) AS vs, AVG(DISTINCT x) AS mean, MAX(DISTINCT v) AS most, COUNT(DISTINCT CASE WHEN v > 3 THEN id END) AS high_ids FROM t GROUP BY device;
