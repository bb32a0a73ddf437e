CREATE TABLE e (id INT, readings ARRAY<ROW<sensor STRING, v DOUBLE>>, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/lists.jsonl', 'format' = 'json');
SELECT CAST(readings[1] AS ROW<sensor STRING>) FROM e;
