CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/late.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES A.id AS a, LAST(B.id) AS b, COUNT(B.v) AS n
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B+ C) DEFINE B AS B.v <= A.v, C AS C.v > A.v);
