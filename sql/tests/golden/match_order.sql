CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM letters MATCH_RECOGNIZE (
  PARTITION BY device
  ORDER BY ts, v DESC, id
  MEASURES A.id AS a, B.id AS b, A.v AS av, B.v AS bv
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B) DEFINE B AS B.ts = A.ts OR B.v > A.v
);
