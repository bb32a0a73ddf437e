CREATE TABLE times (id INT, s STRING, ts TIMESTAMP(3), d DATE, t TIME, ms BIGINT, n INT)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/times.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id,
 CEIL(ts TO DECADE) AS e0,
 CEIL(ts TO YEAR) AS e1,
 CEIL(ts TO QUARTER) AS e2,
 CEIL(ts TO MONTH) AS e3,
 CEIL(ts TO WEEK) AS e4,
 CEIL(ts TO DAY) AS e5,
 CEIL(ts TO HOUR) AS e6,
 CEIL(ts TO MINUTE) AS e7,
 CEIL(ts TO SECOND) AS e8,
 CEIL(d TO YEAR) AS e9,
 CEIL(d TO QUARTER) AS e10,
 CEIL(d TO MONTH) AS e11,
 CEIL(d TO WEEK) AS e12,
 CEIL(d TO DAY) AS e13,
 CEIL(t TO MINUTE) AS e14
FROM times WHERE id < 15 AND id <> 1;
