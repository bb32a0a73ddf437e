CREATE TABLE mixed (device STRING, ts TIMESTAMP(3), x DOUBLE, price DECIMAL(10, 2), n INT, big BIGINT, tiny SMALLINT, name STRING, ok BOOLEAN,
 info ROW<site STRING, pos ROW<lat DOUBLE, lon INT>>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/mixed.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT info.site, mixed.info.pos.lat AS lat, info.pos.lon AS lon, info.pos.lat * 2 AS twice FROM mixed WHERE info.pos.lon IS NULL OR info.pos.lon < -10;
