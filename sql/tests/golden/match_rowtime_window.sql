CREATE TABLE ticker (symbol STRING, price BIGINT, tax BIGINT, rowtime TIMESTAMP(3), WATERMARK FOR rowtime AS rowtime - INTERVAL '1' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/ticker.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW rises AS SELECT * FROM ticker MATCH_RECOGNIZE (
  PARTITION BY symbol ORDER BY rowtime
  MEASURES B.price AS p, MATCH_ROWTIME() AS t
  AFTER MATCH SKIP TO NEXT ROW
  PATTERN (A B) DEFINE B AS B.price > A.price
);
SELECT window_start, symbol, COUNT(*) AS n, MAX(p) AS p FROM TABLE(TUMBLE(TABLE rises, DESCRIPTOR(t), INTERVAL '4' SECOND)) GROUP BY window_start, window_end, symbol;
