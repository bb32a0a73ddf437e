CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, YEAR(dt) AS a, MONTH(dt) AS b, DAYOFMONTH(dt) AS c, DAYOFWEEK(dt) AS e, DAYOFYEAR(dt) AS g, QUARTER(dt) AS h, WEEK(dt) AS l, HOUR(tm) AS m, MINUTE(tm) AS n, SECOND(tm) AS o, EXTRACT(YEAR FROM t3) AS p, EXTRACT(SECOND FROM t3) AS q, EXTRACT(DOW FROM dt) AS r, EXTRACT(EPOCH FROM t3) AS u FROM t;
