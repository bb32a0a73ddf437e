CREATE TABLE readings (device STRING, v DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
CREATE TABLE modes (device STRING, mode STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '1');
SELECT r.device, m.mode FROM readings r ASOF JOIN modes m MATCH_CONDITION (r.ts >= m.ts) ON r.device = m.device;
