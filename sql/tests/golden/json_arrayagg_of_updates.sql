CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT m > 8 AS big, CARDINALITY(JSON_QUERY(JSON_ARRAYAGG(n), '$[*]' RETURNING ARRAY<STRING> WITH WRAPPER)) AS a FROM (SELECT device, COUNT(*) AS n, MAX(v) AS m FROM t GROUP BY device) GROUP BY m > 8;
