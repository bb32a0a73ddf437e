CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT T.symbol, T.d * 2 AS twice, CHAR_LENGTH(T.symbol) AS len FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY rowtime
  MEASURES C.price - A.price AS d, C.rowtime AS t
  PATTERN (A B C) DEFINE B AS B.price > A.price, C AS C.price > B.price
) AS T WHERE T.d > 3;
