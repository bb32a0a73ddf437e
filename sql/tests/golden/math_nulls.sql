CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, ABS(i) AS a, SQRT(ABS(f)) AS b, POWER(ti, 2) AS c, SIGN(d) AS e, FLOOR(f) AS g, CEIL(f) AS h, EXP(m4 / 1000) AS m, SIN(m4) AS n, COS(m4) AS o, TAN(m4) AS p, ATAN(d) AS q, ATAN2(f, 1) AS r, DEGREES(m4) AS u, RADIANS(m4) AS v, MOD(i, 10) AS w FROM t;
