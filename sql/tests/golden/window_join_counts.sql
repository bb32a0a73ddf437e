CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE faults (device STRING, v BIGINT, note STRING, fault_ts TIMESTAMP(3), WATERMARK FOR fault_ts AS fault_ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/faults.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT a.device, a.n, b.faults, a.window_start FROM
 (SELECT device, window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end) a JOIN
 (SELECT device, window_start, window_end, COUNT(*) AS faults FROM TABLE(TUMBLE(TABLE faults, DESCRIPTOR(fault_ts), INTERVAL '10' SECOND)) GROUP BY device, window_start, window_end) b
 ON a.device = b.device AND a.window_start = b.window_start AND a.window_end = b.window_end;
