SELECT k, SUM(n) AS total, COUNT(*) AS c FROM (VALUES ('a', 1), ('b', 2), ('a', 3), (CAST(NULL AS STRING), 4), ('b', CAST(NULL AS INT))) AS v (k, n) GROUP BY k;
