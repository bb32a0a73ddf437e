CREATE TABLE times (id INT, s STRING, ts TIMESTAMP(3), d DATE, t TIME, ms BIGINT, n INT)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/times.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id,
 TIMESTAMPADD(YEAR, n, ts) AS e0,
 TIMESTAMPADD(QUARTER, n, ts) AS e1,
 TIMESTAMPADD(MONTH, n, ts) AS e2,
 TIMESTAMPADD(WEEK, n, ts) AS e3,
 TIMESTAMPADD(DAY, n, ts) AS e4,
 TIMESTAMPADD(HOUR, n, ts) AS e5,
 TIMESTAMPADD(MINUTE, n, ts) AS e6,
 TIMESTAMPADD(SECOND, n, ts) AS e7,
 TIMESTAMPADD(YEAR, n, d) AS e8,
 TIMESTAMPADD(QUARTER, n, d) AS e9,
 TIMESTAMPADD(MONTH, n, d) AS e10,
 TIMESTAMPADD(WEEK, n, d) AS e11,
 TIMESTAMPADD(DAY, n, d) AS e12,
 TIMESTAMPADD(HOUR, 13, t) AS e13,
 TIMESTAMPADD(MINUTE, 13, t) AS e14
FROM times WHERE id < 15;
