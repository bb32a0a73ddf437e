CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, COUNT(*) AS n, MAX(step) AS most FROM (SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES B.v - A.v AS step
  ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (A B) DEFINE B AS B.v <> A.v)) GROUP BY device;
