CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE faults (device STRING, v BIGINT, note STRING, fault_ts TIMESTAMP(3), WATERMARK FOR fault_ts AS fault_ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/versions.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT w.device, w.window_end, w.n, f.note FROM (SELECT device, window_end, window_time, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY device, window_start, window_end, window_time) w ASOF LEFT JOIN faults f MATCH_CONDITION (w.window_time >= f.fault_ts) ON w.device = f.device;
