CREATE TABLE events (id BIGINT, device STRING, kind STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/events.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE totals (device STRING, n BIGINT, PRIMARY KEY (device) NOT ENFORCED) WITH ('connector' = 'postgres', 'url' = 'jdbc:postgresql://localhost:5432/db', 'username' = 'u', 'table-name' = 'totals');
EXPLAIN INSERT INTO totals SELECT device, COUNT(*) FROM events GROUP BY device;
EXPLAIN INSERT INTO totals SELECT device, n FROM (SELECT device, kind, COUNT(*) AS n FROM events GROUP BY device, kind);
EXPLAIN INSERT INTO totals SELECT device, COUNT(*) FROM events GROUP BY device HAVING COUNT(*) > 3;
