CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/disorder.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM t MATCH_RECOGNIZE (PARTITION BY device ORDER BY ts MEASURES A.note AS from_note, B.note AS to_note, UPPER(A.note) || '-' || B.note AS both_notes
  ONE ROW PER MATCH AFTER MATCH SKIP TO NEXT ROW PATTERN (A B) DEFINE A AS A.note <> '', B AS B.note LIKE '%e%');
