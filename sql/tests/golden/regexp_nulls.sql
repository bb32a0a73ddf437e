CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, REGEXP_EXTRACT(s, '([a-z])([a-z])', 2) AS a, REGEXP_REPLACE(vc, '', '-') AS m, REGEXP_REPLACE(s, '[a-c]', '<$0>') AS b, REGEXP(s, 'b+') AS c, REGEXP_COUNT(s, '[A-Za-z]') AS e, REGEXP_INSTR(s, 'c') AS g, REGEXP_SUBSTR(s, '[^a]+') AS h, REGEXP_EXTRACT(s, 'zzz') AS l FROM t;
