SET 'table.local-time-zone' = 'UTC';
CREATE TABLE times (id INT, s STRING, ts TIMESTAMP(3), d DATE, t TIME, ms BIGINT, n INT)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/times.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id,
 FLOOR(ts TO MILLENNIUM) AS e0,
 FLOOR(ts TO CENTURY) AS e1,
 FLOOR(ts TO DECADE) AS e2,
 FLOOR(ts TO YEAR) AS e3,
 FLOOR(ts TO QUARTER) AS e4,
 FLOOR(ts TO MONTH) AS e5,
 FLOOR(ts TO WEEK) AS e6,
 FLOOR(ts TO DAY) AS e7,
 FLOOR(ts TO HOUR) AS e8,
 FLOOR(ts TO MINUTE) AS e9,
 FLOOR(ts TO SECOND) AS e10,
 FLOOR(d TO YEAR) AS e11,
 FLOOR(d TO QUARTER) AS e12,
 FLOOR(d TO MONTH) AS e13,
 FLOOR(d TO WEEK) AS e14,
 FLOOR(d TO DAY) AS e15,
 FLOOR(t TO HOUR) AS e16,
 FLOOR(t TO MINUTE) AS e17
FROM times WHERE id <> 7;
