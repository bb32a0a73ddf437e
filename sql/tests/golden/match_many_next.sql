CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT 'A B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B? C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B? C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B* C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B* C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B+ C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B+ C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B*? C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B*? C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B+? C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B+? C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A{2} B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A{2} B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A{1,2} B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A{1,2} B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A{1,3}? B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A{1,3}? B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A{2,} B AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A{2,} B)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A{2,}? B AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A{2,}? B)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A+ B AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A+ B)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A+? B AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A+? B)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A B{0,2} C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B{0,2} C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A+ B{2} C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A+ B{2} C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A* B AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A* B)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A*? B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A*? B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A+ B+ C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A+ B+ C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
)
UNION ALL
SELECT 'A B+? AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B+?)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A B{1,2}? AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, -1 AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B{1,2}?)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%'
)
UNION ALL
SELECT 'A? B C AFTER MATCH SKIP TO NEXT ROW' AS p, device, f, l, na, nb, nc, nd FROM letters MATCH_RECOGNIZE (
  PARTITION BY device ORDER BY ts MEASURES FIRST(id) AS f, LAST(id) AS l, COUNT(A.id) AS na, COUNT(B.id) AS nb, COUNT(C.id) AS nc, -1 AS nd
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A? B C)
  DEFINE A AS A.k LIKE '%A%', B AS B.k LIKE '%B%', C AS C.k LIKE '%C%'
);
