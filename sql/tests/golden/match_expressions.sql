CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY rowtime
  MEASURES A.price * A.tax + B.price AS x, LAST(B.price * B.tax, 1) AS y, UPPER(CAST(C.price AS STRING)) AS z, CASE WHEN B.price > 15 THEN 'high' ELSE 'low' END AS level, SUM(B.price * B.tax) AS s
  ONE ROW PER MATCH
  AFTER MATCH SKIP PAST LAST ROW
  PATTERN (A B{2,3} C)
  DEFINE B AS B.price >= A.price - 5
);
