CREATE TABLE lists (id BIGINT, device STRING, ts TIMESTAMP(3), tags ARRAY<STRING>, readings ARRAY<ROW<sensor STRING, v DOUBLE>>, limits MAP<STRING, INT>, WATERMARK FOR ts AS ts - INTERVAL '3' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/lists.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW items AS SELECT ts, sensor, v FROM lists CROSS JOIN UNNEST(readings) AS r (sensor, v);
SELECT window_start, sensor, COUNT(*) AS n, MAX(v) AS top FROM TABLE(TUMBLE(TABLE items, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, sensor;
