-- A fleet of devices over MQTT: windows by each device's own clock, alerts to a webhook.
--
--   millstream demo                              runs this file with a broker, a fleet and a receiver of its own
--   MQTT_URL=mqtt://broker:1883 ALERT_URL=https://example.com/hook millstream run examples/fleet.sql
--
-- A device publishes to fleet/<site>/<device>/telemetry:
--   {"ts": "2026-01-01T00:00:10.250", "temperature": 21.5, "humidity": 40.2, "battery": 87}

SET 'pipeline.name' = 'fleet';

CREATE TABLE telemetry (
  site STRING,              -- from the topic
  device STRING,            -- from the topic
  ts TIMESTAMP(3),          -- the device's own clock
  temperature DOUBLE,       -- degrees Celsius
  humidity DOUBLE,          -- percent
  battery INT,              -- percent
  sent_us BIGINT,           -- by the demo's stopwatch, to measure from publish to webhook; NULL elsewhere
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'mqtt',
  'url' = '${MQTT_URL:-mqtt://localhost:1883}',
  'topic' = 'fleet/{site}/{device}/telemetry',
  'qos' = '1',
  'format' = 'json',
  -- Devices' clocks differ: every device keeps its own watermark, so none makes the readings of another late.
  'scan.watermark.key' = 'site, device',
  'scan.watermark.idle-timeout' = '5 s'
);

CREATE TABLE alerts (
  rule STRING,
  site STRING,
  device STRING,
  at TIMESTAMP(3),
  temperature DOUBLE,
  sent_us BIGINT
) WITH (
  'connector' = 'webhook',
  'url' = '${ALERT_URL:-http://localhost:9000/alerts}',
  'private-addresses' = 'allow',
  'key' = 'device',
  'signature.secret' = '${ALERT_SECRET:-fleet-demo}'
);

-- At once: a reading no device should ever send.
INSERT INTO alerts
SELECT 'overheated', site, device, ts, temperature, sent_us
FROM telemetry
WHERE temperature > 85;

-- Sustained: every reading of a window is hot, so it is no glitch of the sensor.
INSERT INTO alerts
SELECT 'hot for 5 s', site, device, window_end, ROUND(AVG(temperature), 1), CAST(NULL AS BIGINT)
FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, site, device
HAVING MIN(temperature) > 60;

-- The hottest devices of every window, for whoever watches.
SELECT window_end, site, device, ROUND(AVG(temperature), 1) AS mean, MAX(temperature) AS peak, COUNT(*) AS readings
FROM TABLE(TUMBLE(TABLE telemetry, DESCRIPTOR(ts), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, site, device
HAVING MAX(temperature) > 50;
