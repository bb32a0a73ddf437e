CREATE TABLE t (id INT, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/empty.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, tag FROM t CROSS JOIN UNNEST(tags) AS u (tag);
