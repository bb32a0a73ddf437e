-- Nanoseconds do not reach the years 1 and 9999.
CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/texts.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, s, TRY_CAST(s AS TIMESTAMP(9)) AS nanos, TRY_CAST(s AS TIMESTAMP(3)) AS millis FROM c WHERE id IN (33, 34, 37);
