CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW seen AS SELECT device, v, ts, TIMESTAMPDIFF(SECOND, CURRENT_WATERMARK(ts), ts) AS ahead FROM events;
SELECT device, window_start, COUNT(*) AS n, MAX(ahead) AS most, MIN(ahead) AS least
FROM TABLE(HOP(TABLE seen, DESCRIPTOR(ts), INTERVAL '2' SECOND, INTERVAL '6' SECOND)) GROUP BY device, window_start, window_end;
