SELECT a + 1 AS b, c FROM (VALUES (1, 'x'), (2, NULL)) AS t(a, c);
