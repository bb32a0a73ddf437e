CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, id, total FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY total DESC, id) AS rn FROM (SELECT device, id, SUM(v) OVER (PARTITION BY device ORDER BY ts ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS total FROM t)) WHERE rn <= 2;
