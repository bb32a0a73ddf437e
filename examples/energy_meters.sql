-- Energy meters: every meter reports its power each second with a time in epoch seconds; the grid wants energy by quarter
-- of an hour as files, and to know of a meter that draws more than its contract allows.
--
--   MQTT_URL=mqtt://broker:1883 millstream run examples/energy_meters.sql
--
-- A meter sends to grid/{feeder}/{meter}:  {"t":1767254400,"watts":1530.5}

SET 'pipeline.name' = 'energy-meters';

CREATE TABLE meters (
  feeder STRING,
  meter  STRING,
  t      TIMESTAMP(3),
  watts  DOUBLE,
  WATERMARK FOR t AS t - INTERVAL '5' SECOND
) WITH (
  'connector' = 'mqtt',
  'url' = '${MQTT_URL:-mqtt://localhost:1883}',
  'topic' = 'grid/{feeder}/{meter}',
  'time-format' = 'epoch-seconds',
  'scan.watermark.key' = 'meter',
  'scan.watermark.idle-timeout' = '1 min'
);

-- Energy of the quarter so far, told every minute, so that load can be shed before the quarter ends.
CREATE VIEW quarter_hours AS
SELECT feeder, meter, window_start, window_end, SUM(watts) / 3600000.0 AS kwh, MAX(watts) AS peak_watts
FROM TABLE(CUMULATE(TABLE meters, DESCRIPTOR(t), INTERVAL '1' MINUTE, INTERVAL '15' MINUTE))
GROUP BY window_start, window_end, feeder, meter;

CREATE TABLE energy (feeder STRING, meter STRING, since TIMESTAMP(3), until TIMESTAMP(3), kwh DOUBLE, peak_watts DOUBLE)
WITH ('connector' = 'filesystem', 'path' = '${DATA_DIR:-.}/energy/', 'format' = 'csv');

INSERT INTO energy SELECT feeder, meter, window_start, window_end, kwh, peak_watts FROM quarter_hours;

CREATE TABLE shed_load (feeder STRING, meter STRING, kwh DOUBLE)
WITH ('connector' = 'mqtt', 'url' = '${MQTT_URL:-mqtt://localhost:1883}', 'topic' = 'grid-control/{feeder}/{meter}');

INSERT INTO shed_load SELECT feeder, meter, ROUND(kwh, 3) FROM quarter_hours WHERE kwh > 2.5;
