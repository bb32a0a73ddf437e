CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/equal_times.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, 1e2 AS a, .5 AS b, 5. AS c, -1.50 AS d, 1E-3 AS e, 007 AS f, 12345678901 AS g, 0.1 + 0.2 AS h, 1 / 3.0 AS i FROM t WHERE id < 2;
