CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM letters MATCH_RECOGNIZE (
  PARTITION BY device
  ORDER BY ts
  MEASURES A.id AS a, B.id AS b, C.id AS c, SUM(B.v) AS s, COUNT(B.v) AS n, COUNT(B.id) AS rows_of_b
  PATTERN (A B+ C)
  DEFINE A AS A.v IS NOT NULL, B AS NOT (B.v > A.v), C AS C.v > A.v
);
