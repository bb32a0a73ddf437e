CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT 'A B+ C AFTER MATCH SKIP PAST LAST ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B+ C)
  DEFINE B AS B.v > LAST(B.v, 1) OR LAST(B.v, 1) IS NULL, C AS C.v < FIRST(B.v)
)
UNION ALL
SELECT 'A B+ C AFTER MATCH SKIP TO NEXT ROW6 SECOND' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B+ C) WITHIN INTERVAL '6' SECOND
  DEFINE B AS B.v >= A.v, C AS C.v < A.v
)
UNION ALL
SELECT 'A B* C AFTER MATCH SKIP PAST LAST ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B* C)
  DEFINE A AS A.v > 5, B AS SUM(B.v) < 40, C AS COUNT(B.id) > 1
)
UNION ALL
SELECT 'A+ B AFTER MATCH SKIP TO NEXT ROW10 SECOND' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A+ B) WITHIN INTERVAL '10' SECOND
  DEFINE A AS AVG(A.v) > 8, B AS B.v < AVG(A.v)
)
UNION ALL
SELECT 'A B+? C AFTER MATCH SKIP PAST LAST ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B+? C)
  DEFINE B AS MAX(B.v) < 15, C AS C.v > MIN(A.v) AND COUNT(id) > 3
)
UNION ALL
SELECT 'A+ B+ C AFTER MATCH SKIP PAST LAST ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A+ B+ C)
  DEFINE A AS A.v < 10, B AS B.v > LAST(A.v) , C AS C.v < LAST(B.v, 1)
)
UNION ALL
SELECT 'A B{2,3} C D AFTER MATCH SKIP PAST LAST ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, COUNT(D.id) AS nd
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B{2,3} C D)
  DEFINE B AS B.v > A.v, C AS C.v < FIRST(B.v, 1), D AS D.v <> LAST(v, 2)
)
UNION ALL
SELECT 'A B* C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B* C)
  DEFINE B AS B.v > FIRST(v), C AS C.v <= FIRST(v, 1)
);
