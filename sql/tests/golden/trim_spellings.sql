CREATE TABLE s (id INT, word STRING, pad STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/trims.csv', 'format' = 'csv', 'csv.null-literal' = 'NULL');
SELECT id, TRIM(word) AS plain, TRIM(BOTH word) AS both_only, TRIM(LEADING word) AS leading_only, TRIM(TRAILING word) AS trailing_only,
  TRIM(BOTH FROM word) AS both_from, TRIM(LEADING FROM word) AS leading_from, TRIM(TRAILING FROM word) AS trailing_from,
  TRIM('x' FROM word) AS chars, TRIM(BOTH 'x' FROM word) AS both_chars, TRIM(LEADING 'xy' FROM word) AS leading_chars, TRIM(TRAILING 'yx' FROM word) AS trailing_chars,
  TRIM(pad FROM word) AS by_column, TRIM(LEADING pad FROM UPPER(word)) AS of_expression, TRIM(BOTH '' FROM word) AS no_chars,
  CHAR_LENGTH(TRIM(both FROM word)) AS lower_case FROM s;
