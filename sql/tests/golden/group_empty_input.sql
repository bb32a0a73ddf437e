CREATE TABLE nothing (a BIGINT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/empty.jsonl', 'format' = 'json');
SELECT COUNT(*) AS n FROM nothing;
