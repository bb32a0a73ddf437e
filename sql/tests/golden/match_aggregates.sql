CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY rowtime
  MEASURES COUNT(B.price) AS n, SUM(B.price) AS s, MIN(B.price) AS lo, MAX(B.price) AS hi, AVG(B.price) AS mean, COUNT(price) AS all_n, SUM(price) AS all_s, AVG(CAST(price AS DOUBLE)) AS all_mean, FIRST_VALUE(B.tax) AS f, LAST_VALUE(B.tax) AS l
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B+ C)
  DEFINE B AS SUM(price) < 100 AND SUM(B.price) < 80 AND B.price > A.price
);
