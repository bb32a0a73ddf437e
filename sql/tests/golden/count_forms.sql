CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT COUNT(*) AS a, COUNT(1) AS b, COUNT(v) AS c, COUNT(DISTINCT v) AS d, COUNT(DISTINCT device) AS e, COUNT(ALL v) AS f, COUNT(NULLIF(v, 8)) AS g FROM t;
