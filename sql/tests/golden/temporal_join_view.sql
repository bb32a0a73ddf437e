CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE faults (device STRING, v BIGINT, note STRING, fault_ts TIMESTAMP(3), WATERMARK FOR fault_ts AS fault_ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/versions.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE VIEW latest AS SELECT device, note, fault_ts FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY device ORDER BY fault_ts DESC) AS rn FROM faults WHERE device IS NOT NULL) WHERE rn = 1;
SELECT e.id, f.note FROM events e LEFT JOIN latest FOR SYSTEM_TIME AS OF e.ts AS f ON e.device = f.device;
