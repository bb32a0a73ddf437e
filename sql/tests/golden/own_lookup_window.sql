CREATE TABLE readings (device STRING, ts TIMESTAMP(3), temperature DOUBLE, n INT, p AS PROCTIME(), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE places (device STRING, place STRING, floor INT, high AS floor > 1)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/places.csv', 'format' = 'csv');
CREATE VIEW placed AS
  SELECT r.ts, s.place FROM readings AS r JOIN places FOR SYSTEM_TIME AS OF r.p AS s ON UPPER(r.device) = UPPER(s.device) AND r.device = s.device;
SELECT window_start, place, COUNT(*) AS readings FROM TABLE(TUMBLE(TABLE placed, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, place;
