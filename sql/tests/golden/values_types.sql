SELECT a, b, c, a + b AS s FROM (VALUES (1, 1.5, 'x'), (2, 22.25, CAST(NULL AS STRING)), (-3, 0.125, '')) AS v (a, b, c);
