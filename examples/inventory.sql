-- A warehouse: scanners write what comes and goes into CSV files; stock that moved by the hour goes to PostgreSQL, where
-- the last word on an item and hour wins, and items that only leave are told to the buyer.
--
--   INVENTORY_DIR=/var/lib/scanners POSTGRES_URL=postgresql://shop@localhost/shop millstream run examples/inventory.sql
--
-- A line of a file:  2026-01-01 08:00:12,aisle-3,screws M6,-40
-- The table:         CREATE TABLE hourly_moves (item text, hour timestamp, moved bigint, scans bigint, PRIMARY KEY (item, hour))

SET 'pipeline.name' = 'inventory';

CREATE TABLE scans (
  ts     TIMESTAMP(3),
  place  STRING,
  item   STRING,
  pieces BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'filesystem',
  'path' = '${INVENTORY_DIR:-.}/*.csv',
  'format' = 'csv',
  'scan.mode' = '${SCAN_MODE:-follow}',
  'dead-letter' = 'unreadable'
);

CREATE TABLE unreadable (source STRING, error STRING, payload STRING)
WITH ('connector' = 'filesystem', 'path' = '${DATA_DIR:-.}/unreadable.json', 'sink.append' = 'true');

CREATE VIEW hours AS
SELECT item, window_start AS `hour`, SUM(pieces) AS moved, COUNT(*) AS scans,
       SUM(pieces) FILTER (WHERE pieces > 0) AS came
FROM TABLE(TUMBLE(TABLE scans, DESCRIPTOR(ts), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, item;

CREATE TABLE hourly_moves (item STRING, `hour` TIMESTAMP(3), moved BIGINT, scans BIGINT, PRIMARY KEY (item, `hour`) NOT ENFORCED)
WITH ('connector' = 'postgres', 'url' = '${POSTGRES_URL:-postgresql://shop@localhost/shop}', 'table-name' = 'hourly_moves');

INSERT INTO hourly_moves SELECT item, `hour`, moved, scans FROM hours;

-- To the console: what nobody brings any more.
SELECT item, `hour`, moved FROM hours WHERE came IS NULL AND moved <= -100;
