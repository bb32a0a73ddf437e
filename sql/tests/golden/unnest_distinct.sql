CREATE TABLE t (id INT, device STRING, tags ARRAY<STRING>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/lists.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT DISTINCT device, tag FROM t CROSS JOIN UNNEST(tags) AS u (tag);
