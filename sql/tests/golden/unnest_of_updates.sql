CREATE TABLE lists (id BIGINT, device STRING, ts TIMESTAMP(3), tags ARRAY<STRING>, readings ARRAY<ROW<sensor STRING, v DOUBLE>>, limits MAP<STRING, INT>, WATERMARK FOR ts AS ts - INTERVAL '3' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/lists.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, tag FROM (SELECT device, tags FROM (SELECT device, tags, ROW_NUMBER() OVER (PARTITION BY device ORDER BY id DESC) AS place FROM lists WHERE tags IS NOT NULL) WHERE place = 1) CROSS JOIN UNNEST(tags) AS t (tag);
