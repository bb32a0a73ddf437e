CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol
  ORDER BY rowtime
  MEASURES SUM(A.price) AS sum_price, FIRST(rowtime) AS start_time, LAST(rowtime) AS end_time
  ONE ROW PER MATCH
  AFTER MATCH SKIP TO LAST A
  PATTERN (S A+ C)
  DEFINE A AS SUM(A.price) < 30
);
