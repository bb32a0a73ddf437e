CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE faults (device STRING, v BIGINT, note STRING, fault_ts TIMESTAMP(3), WATERMARK FOR fault_ts AS fault_ts - INTERVAL '5' SECOND, PRIMARY KEY (device) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/versions.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT window_start, note, COUNT(*) AS n FROM TABLE(TUMBLE((SELECT e.id, e.ts, f.note FROM events e JOIN faults FOR SYSTEM_TIME AS OF e.ts AS f ON e.device = f.device), DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, note;
