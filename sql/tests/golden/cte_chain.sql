CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
WITH highs AS (SELECT * FROM t WHERE v > 2), per_device AS (SELECT device, COUNT(*) AS n, SUM(v) AS total FROM highs GROUP BY device)
SELECT h.id, h.device, p.n FROM highs h JOIN per_device p ON h.device = p.device WHERE p.n > 2;
