SET 'table.exec.state.ttl' = '1 d';
CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'source.monitor-interval' = '1 s', 'json.timestamp-format.standard' = 'ISO-8601');
EXPLAIN SELECT * FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY rowtime, price DESC
  MEASURES FIRST(A.price) AS a, LAST(B.price, 1) AS b, SUM(B.tax) AS s, MATCH_ROWTIME() AS t
  AFTER MATCH SKIP TO LAST C
  PATTERN (A B{2,}? C) WITHIN INTERVAL '1' MINUTE
  DEFINE B AS B.price > LAST(B.price, 1) OR AVG(B.price) > 5, C AS C.price < 10
);
