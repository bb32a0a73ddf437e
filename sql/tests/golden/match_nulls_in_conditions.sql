-- A condition that is NULL does not hold.
CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES A.id AS a, B.id AS b, A.note AS note, SUM(B.v) AS total
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (A B) DEFINE A AS A.v >= 0, B AS B.x > 0 OR B.note IS NULL);
