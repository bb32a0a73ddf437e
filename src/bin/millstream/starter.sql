-- A pipeline to start from. It runs as it is:       millstream run pipeline.sql
-- Is it right after a change?                       millstream check pipeline.sql
-- What else is there?                               millstream connectors    millstream functions
-- What a program may be told from outside: ${NAME} and ${NAME:-default} are replaced by environment variables.

SET 'pipeline.name' = 'starter';

-- 1. Where rows come from. These are made up: five devices, ten readings a second, for ever.
CREATE TABLE readings (
  device      STRING,
  temperature DOUBLE,
  ts          TIMESTAMP(3),
  -- Event time, and how late a reading may be. Windows close by it.
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'datagen',
  'rows-per-second' = '10',
  'devices' = '5',
  'device-column' = 'device',
  'fields.temperature.kind' = 'walk',
  'fields.temperature.min' = '15',
  'fields.temperature.max' = '35'
);

-- Your own devices instead: replace the WITH above. {site} and {device} of the topic can be columns.
-- ) WITH (
--   'connector' = 'mqtt',
--   'url' = '${MQTT_URL:-mqtt://localhost:1883}',
--   'topic' = 'plant/{site}/{device}/telemetry',
--   'qos' = '1',
--   -- Every device has a clock of its own, so one that is behind does not make the others late.
--   'scan.watermark.key' = 'device',
--   -- A device that says nothing for so long does not keep windows open.
--   'scan.watermark.idle-timeout' = '30 s'
-- );

-- 2. What is asked. A view is a name for a query.
CREATE VIEW five_seconds AS
SELECT device, window_end, COUNT(*) AS readings, AVG(temperature) AS mean, MAX(temperature) AS hottest
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, device;

-- 3. Where answers go. A SELECT of its own prints its rows; INSERT INTO writes them to a table.
SELECT window_end, device, readings, ROUND(mean, 1) AS mean, ROUND(hottest, 1) AS hottest FROM five_seconds;

-- CREATE TABLE alerts (device STRING, at TIMESTAMP(3), hottest DOUBLE) WITH (
--   'connector' = 'webhook',
--   'url' = '${ALERT_URL}',
--   'key' = 'device'
-- );
-- INSERT INTO alerts SELECT device, window_end, hottest FROM five_seconds WHERE hottest > 34;
