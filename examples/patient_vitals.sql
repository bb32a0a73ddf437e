-- Patients at their beds: monitors send vital signs over MQTT, each by its own clock; a nurse is told when a patient was
-- outside of the limits on average for ten seconds, not at every flicker, and at once when a heart beats far too fast.
--
--   MQTT_URL=mqtt://broker:1883 ALERT_URL=https://hospital.example/hook millstream run examples/patient_vitals.sql
--
-- A monitor sends to ward/{ward}/{bed}/vitals:  {"ts":"2026-01-01T08:00:00","pulse":72,"spo2":98}
-- Rows that are no vital signs, and those too late for their window, are kept in files: in a hospital nothing is dropped.

SET 'pipeline.name' = 'patient-vitals';

CREATE TABLE vitals (
  ward  STRING,
  bed   STRING,
  ts    TIMESTAMP(3),
  pulse INT,
  spo2  INT,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'mqtt',
  'url' = '${MQTT_URL:-mqtt://localhost:1883}',
  'topic' = 'ward/{ward}/{bed}/vitals',
  'qos' = '1',
  'scan.watermark.key' = 'ward, bed',
  'scan.watermark.idle-timeout' = '30 s',
  'dead-letter' = 'unreadable',
  'late-rows' = 'late_vitals'
);

CREATE TABLE unreadable (`time` TIMESTAMP_LTZ(3), source STRING, error STRING, payload STRING)
WITH ('connector' = 'filesystem', 'path' = '${DATA_DIR:-.}/unreadable.json', 'sink.append' = 'true');

CREATE TABLE late_vitals (ward STRING, bed STRING, ts TIMESTAMP(3), pulse INT, spo2 INT)
WITH ('connector' = 'filesystem', 'path' = '${DATA_DIR:-.}/late_vitals.json', 'sink.append' = 'true');

CREATE TABLE alerts (ward STRING, bed STRING, at TIMESTAMP(3), what STRING, reading DOUBLE)
WITH ('connector' = 'webhook', 'url' = '${ALERT_URL}', 'key' = 'bed', 'private-addresses' = 'allow');

CREATE VIEW ten_seconds AS
SELECT ward, bed, window_end,
       AVG(CAST(pulse AS DOUBLE)) AS pulse,
       AVG(CAST(spo2 AS DOUBLE)) AS spo2
FROM TABLE(HOP(TABLE vitals, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))
GROUP BY window_start, window_end, ward, bed
HAVING COUNT(*) >= 5;

INSERT INTO alerts
SELECT ward, bed, window_end, 'low oxygen', ROUND(spo2, 1) FROM ten_seconds WHERE spo2 < 90;

INSERT INTO alerts
SELECT ward, bed, window_end, 'pulse out of range', ROUND(pulse, 1) FROM ten_seconds WHERE pulse < 40 OR pulse > 130;

INSERT INTO alerts
SELECT ward, bed, ts, 'racing heart', CAST(pulse AS DOUBLE) FROM vitals WHERE pulse > 180;
