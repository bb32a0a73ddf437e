CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT 'A B C AFTER MATCH SKIP TO FIRST B' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST B
  PATTERN (A B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B* C AFTER MATCH SKIP TO FIRST C' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST C
  PATTERN (A B* C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B+ C AFTER MATCH SKIP TO FIRST B' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST B
  PATTERN (A B+ C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B+? C AFTER MATCH SKIP TO FIRST B' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST B
  PATTERN (A B+? C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B{1,2} C AFTER MATCH SKIP TO FIRST B' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST B
  PATTERN (A B{1,2} C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A+ B+ C AFTER MATCH SKIP TO FIRST C' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO FIRST C
  PATTERN (A+ B+ C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B{2,} C D AFTER MATCH SKIP TO FIRST B' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, COUNT(D.id) AS nd
  AFTER MATCH SKIP TO FIRST B
  PATTERN (A B{2,} C D)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%', D AS D.k LIKE '%D%'
);
