-- CAST and TRY_CAST between text, numbers, booleans, dates and timestamps.
CREATE TABLE t (
  id INT,
  s STRING,
  u STRING,
  d DOUBLE,
  i INT,
  m DECIMAL(10, 3),
  ts TIMESTAMP(3)
) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_cast.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT
  id,
  TRY_CAST(s AS INT) AS s_int, TRY_CAST(s AS BIGINT) AS s_bigint, CAST(TRY_CAST(s AS DOUBLE) AS STRING) AS s_double, CAST(TRY_CAST(NULLIF(s, '2147483648') AS FLOAT) AS STRING) AS s_float, TRY_CAST(s AS DECIMAL(10, 2)) AS s_decimal, TRY_CAST(s AS BOOLEAN) AS s_boolean, TRY_CAST(u AS BOOLEAN) AS u_boolean, TRY_CAST(s AS TINYINT) AS s_tinyint, TRY_CAST(s AS SMALLINT) AS s_smallint, TRY_CAST(s AS DATE) AS s_date, TRY_CAST(s AS TIMESTAMP(3)) AS s_timestamp, CAST(TRY_CAST(s AS TIME) AS STRING) AS s_time,
  CAST(d AS INT) AS d_int, CAST(d AS BIGINT) AS d_bigint, CAST(d AS TINYINT) AS d_tinyint, CAST(d AS SMALLINT) AS d_smallint, CAST(d AS DECIMAL(10, 2)) AS d_decimal, CAST(d AS DECIMAL(3, 1)) AS d_decimal_small, CAST(d AS STRING) AS d_string, CAST(CAST(CASE WHEN ABS(d) < 1e8 THEN d END AS FLOAT) AS STRING) AS f_string, CAST(d AS BOOLEAN) AS d_boolean,
  CAST(i AS STRING) AS i_string, CAST(i AS BOOLEAN) AS i_boolean, CAST(i AS DOUBLE) AS i_double, CAST(i AS DECIMAL(10, 2)) AS i_decimal, CAST(i AS DECIMAL(4, 2)) AS i_decimal_small, CAST(i AS TINYINT) AS i_tinyint, CAST(i AS SMALLINT) AS i_smallint,
  CAST(m AS INT) AS dec_int, CAST(m AS BIGINT) AS dec_bigint, CAST(m AS DOUBLE) AS dec_double, CAST(m AS STRING) AS dec_string, CAST(m AS DECIMAL(10, 1)) AS dec_decimal, CAST(m AS DECIMAL(3, 1)) AS dec_small, CAST(m AS FLOAT) AS dec_float, CAST(m AS BOOLEAN) AS dec_boolean, CAST(m AS TINYINT) AS dec_tinyint,
  CAST(i > 0 AS STRING) AS bool_string, CAST(i > 0 AS INT) AS bool_int, CAST(i > 0 AS DOUBLE) AS bool_double, CAST(i > 0 AS DECIMAL(5, 2)) AS bool_decimal,
  CAST(ts AS STRING) AS ts_string, CAST(ts AS DATE) AS ts_date, CAST(CAST(ts AS TIME) AS STRING) AS ts_time, CAST(CAST(ts AS TIMESTAMP(6)) AS STRING) AS ts6_string, CAST(CAST(ts AS TIMESTAMP_LTZ(3)) AS STRING) AS ltz_string, CAST(CAST(CAST(ts AS TIMESTAMP_LTZ(3)) AS TIMESTAMP(3)) AS STRING) AS ltz_back, CAST(CAST(ts AS DATE) AS STRING) AS date_string, CAST(CAST(ts AS DATE) AS TIMESTAMP(3)) AS date_timestamp, CAST(CAST(ts AS TIMESTAMP(9)) AS STRING) AS ts9_string,
  CAST('abc' AS VARCHAR(2)) AS varchar2, CAST(12345 AS VARCHAR(3)) AS varchar3, CAST('ab' AS CHAR(4)) AS char4, CAST(i AS VARCHAR(1)) AS i_varchar1, CAST(s AS CHAR(3)) AS s_char3, CAST(s AS VARCHAR(4)) AS s_varchar4,
  CAST(CAST('abc' AS BYTES) AS STRING) AS bytes_string, HEX(CAST(CAST('zz' AS BYTES) AS STRING)) AS bytes_hex,
  REPLACE(TYPEOF(CAST(i AS TINYINT)), ' NOT NULL', '') AS t1, REPLACE(TYPEOF(CAST(ts AS TIMESTAMP_LTZ(3))), ' NOT NULL', '') AS t2, REPLACE(TYPEOF(s), ' NOT NULL', '') AS t3, REPLACE(TYPEOF(ts), ' NOT NULL', '') AS t4, REPLACE(TYPEOF(d), ' NOT NULL', '') AS t5, REPLACE(TYPEOF(m), ' NOT NULL', '') AS t6, REPLACE(TYPEOF(TRUE), ' NOT NULL', '') AS t7, REPLACE(TYPEOF(CAST(ts AS DATE)), ' NOT NULL', '') AS t8
FROM t;
