CREATE TABLE lists (id BIGINT, device STRING, ts TIMESTAMP(3), tags ARRAY<STRING>, readings ARRAY<ROW<sensor STRING, v DOUBLE>>, limits MAP<STRING, INT>, WATERMARK FOR ts AS ts - INTERVAL '3' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/lists.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, sensor, v FROM lists CROSS JOIN LATERAL TABLE(COALESCE(readings, readings)) AS t WHERE v > 1;
