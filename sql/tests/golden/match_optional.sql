CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES A.id AS a, B.id AS b, C.id AS c
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B? C) DEFINE A AS A.v > 2, B AS B.x > 5, C AS C.v < 3);
