SET 'table.local-time-zone' = 'Europe/Berlin';
CREATE TABLE i (id INT, k STRING, lz TIMESTAMP_LTZ(3), WATERMARK FOR lz AS lz - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = '${DATA}/instants.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW t AS SELECT * FROM i WHERE id > 2;
SELECT window_start, window_end, COUNT(*) AS n, MIN(id) AS first_id FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(lz), INTERVAL '1' HOUR)) GROUP BY window_start, window_end;
