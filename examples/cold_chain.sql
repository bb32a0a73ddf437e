-- A cold chain: vaccine boxes report their temperature over MQTT; one that was above its limit for a whole minute is
-- an alert to a webhook. Each box knows its own limit.
--
--   MQTT_URL=mqtt://broker:1883 ALERT_URL=https://example.com/hook millstream run examples/cold_chain.sql
--
-- A box publishes to coldchain/<truck>/<box>:
--   {"ts": "2026-01-01T00:00:10", "temperature": 4.5, "limits": {"max": 8.0}}

SET 'pipeline.name' = 'cold-chain';

CREATE TABLE boxes (
  truck STRING,
  box STRING,
  ts TIMESTAMP(3),
  temperature DOUBLE,
  limits ROW<`max` DOUBLE>,
  WATERMARK FOR ts AS ts - INTERVAL '10' SECOND
) WITH (
  'connector' = 'mqtt',
  'url' = '${MQTT_URL:-mqtt://localhost:1883}',
  'topic' = 'coldchain/{truck}/{box}',
  'qos' = '1',
  'format' = 'json',
  -- A truck in a tunnel sends its backlog later: its boxes' clocks wait for it, nobody else's do.
  'scan.watermark.key' = 'truck, box',
  'scan.watermark.idle-timeout' = '${IDLE_TIMEOUT:-2 min}'
);

CREATE TABLE spoiled (
  truck STRING,
  box STRING,
  since TIMESTAMP(3),
  until TIMESTAMP(3),
  coldest DOUBLE,
  warmest DOUBLE,
  readings BIGINT
) WITH (
  'connector' = 'webhook',
  'url' = '${ALERT_URL:-http://localhost:9000/spoiled}',
  'private-addresses' = 'allow',
  'content' = 'cloudevents',
  'cloudevents.source' = '/cold-chain',
  'cloudevents.type' = 'box.spoiled',
  'key' = 'box'
);

-- The coldest reading of the minute was above the limit, so every one was.
INSERT INTO spoiled
SELECT truck, box, window_start, window_end, MIN(temperature), MAX(temperature), COUNT(*)
FROM TABLE(TUMBLE(TABLE boxes, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end, truck, box
HAVING MIN(temperature - limits.`max`) > 0;
