CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/texts.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, TRY_CAST(s AS TINYINT) AS a, TRY_CAST(s AS INT) AS b, TRY_CAST(s AS BIGINT) AS e, TRY_CAST(s AS DOUBLE) AS g, TRY_CAST(s AS DECIMAL(10, 2)) AS h, TRY_CAST(s AS BOOLEAN) AS l FROM c WHERE id < 29 AND id <> 25;
