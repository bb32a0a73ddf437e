-- What does not fit after rounding, and what is a letter, is no DECIMAL.
CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/texts.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, s, TRY_CAST(s AS DECIMAL(10, 2)) AS m FROM c WHERE id IN (25, 29);
