CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE faults (device STRING, v BIGINT, note STRING, fault_ts TIMESTAMP(3), WATERMARK FOR fault_ts AS fault_ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/versions.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT e.id FROM events e ASOF JOIN faults f MATCH_CONDITION (e.ts <= f.fault_ts) ON e.device = f.device;
