CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/texts.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, CAST(CAST(s AS BYTES) AS STRING) AS a, CHAR_LENGTH(s) AS b, HEX(s) AS c, CAST(s AS VARCHAR(3)) AS e, CAST(s AS CHAR(3)) AS g FROM c;
