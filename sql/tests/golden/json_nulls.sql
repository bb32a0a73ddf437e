CREATE TABLE t (id INT, k STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m4 DECIMAL(4, 1), m DECIMAL(20, 5), m38 DECIMAL(38, 10), s STRING, vc VARCHAR(4),
  b BOOLEAN, dt DATE, tm TIME, t3 TIMESTAMP(3), t6 TIMESTAMP(6), t9 TIMESTAMP(9), lz TIMESTAMP_LTZ(3), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/types.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, JSON_VALUE(s, '$.a') AS a, JSON_EXISTS(s, '$') AS b, s IS JSON AS c, JSON_OBJECT('s' VALUE s, 'i' VALUE i) AS e, JSON_OBJECT('s' VALUE s, 'i' VALUE i ABSENT ON NULL) AS g, JSON_ARRAY(i, s, b) AS h, JSON_ARRAY(i, s NULL ON NULL) AS l, JSON_STRING(m4) AS m, JSON_STRING(b) AS n, JSON_QUOTE(vc) AS o FROM t;
