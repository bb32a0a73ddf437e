CREATE TABLE t (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/one_device.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT * FROM t MATCH_RECOGNIZE (ORDER BY ts MEASURES FIRST(D.id) AS first_id, LAST(D.id) AS last_id, MIN(D.v) AS low, AVG(D.x) AS mean
  ONE ROW PER MATCH AFTER MATCH SKIP PAST LAST ROW PATTERN (S D+ U) DEFINE D AS D.v <= LAST(D.v, 1) OR LAST(D.v, 1) IS NULL AND D.v <= S.v, U AS U.v > LAST(D.v));
