SELECT a + 1 AS b, c FROM (VALUES (1, 'x'), (2, CAST(NULL AS STRING))) AS t(a, c);
