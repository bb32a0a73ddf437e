CREATE TABLE l (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE r (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT COALESCE(a.device, b.device) AS device, COALESCE(a.n, 0) AS n, COALESCE(b.n, 0) AS m FROM (SELECT device, COUNT(*) AS n FROM l WHERE v > 3 GROUP BY device) a FULL JOIN (SELECT device, COUNT(*) AS n FROM r WHERE v > 7 GROUP BY device) b ON a.device = b.device;
