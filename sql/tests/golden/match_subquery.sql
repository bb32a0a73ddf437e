CREATE TABLE letters (id BIGINT, device STRING, k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/letters.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM (SELECT device, v * 2 AS w, ts FROM letters WHERE v IS NOT NULL) MATCH_RECOGNIZE (
  PARTITION BY device
  ORDER BY ts
  MEASURES FIRST(A.w) AS a, LAST(A.w) AS z, COUNT(A.w) AS n, MATCH_ROWTIME() AS decided
  PATTERN (A{3,} B) WITHIN INTERVAL '30' SECOND
  DEFINE A AS A.w >= 10, B AS B.w < 10
) AS m WHERE m.n > 3;
