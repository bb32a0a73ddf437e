SELECT 1 AS n, 'x' AS s, 1.50 AS d, TRUE AS b, CAST(NULL AS INT) AS nothing;
