-- Arithmetic and mathematical functions over INT, BIGINT, DOUBLE, FLOAT and DECIMAL.
CREATE TABLE t (
  id INT,
  i INT,
  b BIGINT,
  d DOUBLE,
  m DECIMAL(10, 3),
  f FLOAT
) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_math.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT
  id,
  i + 1 AS i_plus, i - 7 AS i_minus, i * 3 AS i_times, i / 4 AS i_div, i % 4 AS i_mod, -i AS i_neg, MOD(i, 3) AS mod_i, i / 4.0 AS i_div_dec, i * 1.50 AS i_times_dec, i + 0.25 AS i_plus_dec,
  b + 1 AS b_plus, b * 4 AS b_times, b / 3 AS b_div, b % 10 AS b_mod, b + i AS b_plus_i,
  d + 1 AS d_plus, CAST(d / 0 AS STRING) AS d_div_zero, d * d AS d_square, d / 3 AS d_third, d + m AS d_plus_dec,
  m + m AS dec_plus, m - 1 AS dec_minus, m * m AS dec_times, m / 3 AS dec_div, m / m AS dec_div_dec, m % 7 AS dec_mod, -m AS dec_neg,
  REPLACE(TYPEOF(i + 1), ' NOT NULL', '') AS t1, REPLACE(TYPEOF(i / 4), ' NOT NULL', '') AS t2, REPLACE(TYPEOF(i * 1.50), ' NOT NULL', '') AS t3, REPLACE(TYPEOF(i / 4.0), ' NOT NULL', '') AS t4, REPLACE(TYPEOF(m + m), ' NOT NULL', '') AS t5, REPLACE(TYPEOF(m * m), ' NOT NULL', '') AS t6, REPLACE(TYPEOF(m / m), ' NOT NULL', '') AS t7, REPLACE(TYPEOF(m % 7), ' NOT NULL', '') AS t8, REPLACE(TYPEOF(b + i), ' NOT NULL', '') AS t9, REPLACE(TYPEOF(d + m), ' NOT NULL', '') AS t10, REPLACE(TYPEOF(m / 3), ' NOT NULL', '') AS t11, REPLACE(TYPEOF(0.5), ' NOT NULL', '') AS t12, REPLACE(TYPEOF(12.50), ' NOT NULL', '') AS t13, REPLACE(TYPEOF(1e3), ' NOT NULL', '') AS t14, REPLACE(TYPEOF(b % i), ' NOT NULL', '') AS t15, REPLACE(TYPEOF(f + i), ' NOT NULL', '') AS t16, REPLACE(TYPEOF(f + m), ' NOT NULL', '') AS t18, REPLACE(TYPEOF(m - b), ' NOT NULL', '') AS t19, REPLACE(TYPEOF(i % b), ' NOT NULL', '') AS t20, REPLACE(TYPEOF(m + i), ' NOT NULL', '') AS t21,
  ABS(i) AS abs_i, ABS(d) AS abs_d, ABS(m) AS abs_dec, ABS(b) AS abs_b,
  POWER(i, 2) AS power_i, POWER(2, 0.5) AS power_half, CAST(POWER(d, 3) AS STRING) AS power_d, SQRT(ABS(d)) AS sqrt_d, CAST(SQRT(-1) AS STRING) AS sqrt_neg, SQRT(m) AS sqrt_dec,
  LN(10) AS ln10, CAST(LN(ABS(d)) AS STRING) AS ln_d, LOG10(1000) AS log10_1, LOG2(8) AS log2_8, LOG(100) AS log1, LOG(2, 8) AS log2args, EXP(1) AS exp1, CAST(EXP(d) AS STRING) AS exp_d, CAST(LN(0) AS STRING) AS ln0, CAST(LOG10(-1) AS STRING) AS log_neg,
  CEIL(d) AS ceil_d, CEILING(m) AS ceil_dec, FLOOR(d) AS floor_d, FLOOR(m) AS floor_dec, CEIL(i) AS ceil_i, FLOOR(f) AS floor_f, REPLACE(TYPEOF(CEIL(m)), ' NOT NULL', '') AS t_ceil, REPLACE(TYPEOF(FLOOR(d)), ' NOT NULL', '') AS t_floor,
  SIN(d) AS sin1, COS(d) AS cos1, TAN(d) AS tan1, COT(0.5) AS cot1, SINH(1.5) AS sinh1, COSH(1.5) AS cosh1, TANH(d) AS tanh1, ASIN(0.5) AS asin1, ACOS(0.5) AS acos1, ATAN(d) AS atan1, ATAN2(1, 2) AS atan2a, DEGREES(d) AS degrees1, RADIANS(180) AS radians1, CAST(ASIN(2) AS STRING) AS asin_nan,
  SIGN(i) AS sign_i, SIGN(d) AS sign_d, SIGN(m) AS sign_dec, REPLACE(TYPEOF(SIGN(m)), ' NOT NULL', '') AS t_sign_dec, REPLACE(TYPEOF(SIGN(i)), ' NOT NULL', '') AS t_sign_i,
  ROUND(d) AS round_d, ROUND(d, 1) AS round_d1, ROUND(m, 1) AS round_dec1, ROUND(m) AS round_dec, ROUND(i, -1) AS round_i, ROUND(2.5) AS round_half, ROUND(-2.5) AS round_nhalf, ROUND(1.005, 2) AS round_1005, ROUND(f, 1) AS round_f, ROUND(b, -2) AS round_b, ROUND(d, -1) AS round_dm1, ROUND(m, 5) AS round_dec5,
  REPLACE(TYPEOF(ROUND(m, 1)), ' NOT NULL', '') AS t_round_dec1, REPLACE(TYPEOF(ROUND(m)), ' NOT NULL', '') AS t_round_dec, REPLACE(TYPEOF(ROUND(i, -1)), ' NOT NULL', '') AS t_round_i, REPLACE(TYPEOF(ROUND(d, 1)), ' NOT NULL', '') AS t_round_d, REPLACE(TYPEOF(ROUND(m, -1)), ' NOT NULL', '') AS t_round_dec_neg, REPLACE(TYPEOF(ROUND(m, i)), ' NOT NULL', '') AS t_round_dec_var,
  TRUNCATE(d, 1) AS truncate_d, TRUNCATE(m, 1) AS truncate_dec, TRUNCATE(d) AS truncate_d0, TRUNCATE(i, -1) AS truncate_i, REPLACE(TYPEOF(TRUNCATE(m, 1)), ' NOT NULL', '') AS t_truncate, TRUNCATE(f, 1) AS truncate_f,
  PI() AS pi1, E() AS e1, RAND(42) < 1 AS rand_in, RAND(42) AS rand42, RAND_INTEGER(42, 10) AS rand_integer,
  BIN(i) AS bin1, HEX(i) AS hex_i, HEX('Abc') AS hex_s, UNHEX('416263') IS NOT NULL AS unhex1, BIN(b) AS bin_b, HEX(b) AS hex_b,
  GREATEST(i, 5) AS greatest_i, GREATEST(d, 1.0, 2.5) AS greatest_d, LEAST(i, 5) AS least_i, LEAST('b', 'a', 'c') AS least_s,
  UUID() IS NOT NULL AS uuid1, CHAR_LENGTH(UUID()) AS uuid_length,
  CAST(i * 1.50 AS STRING) AS s1, CAST(i / 4.0 AS STRING) AS s2, CAST(m * m AS STRING) AS s3, CAST(m / 3 AS STRING) AS s4, CAST(ROUND(m, 1) AS STRING) AS s5, CAST(m % 7 AS STRING) AS s6, CAST(i + 0.25 AS STRING) AS s7, CAST(TRUNCATE(m, 1) AS STRING) AS s8, CAST(CEIL(m) AS STRING) AS s9
FROM t;
