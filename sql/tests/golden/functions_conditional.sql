-- CASE, COALESCE and their kin, three-valued logic, and comparisons with NULL.
CREATE TABLE t (
  id INT,
  a INT,
  b INT,
  s STRING
) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_conditional.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT
  id,
  CASE WHEN a > 5 THEN 'big' WHEN a > 0 THEN 'small' ELSE 'none' END AS case1, CASE WHEN a > 5 THEN 1 END AS case_null, CASE a WHEN 1 THEN 'one' WHEN 7 THEN 'seven' ELSE 'other' END AS case_simple, CASE WHEN a > 5 THEN 1 ELSE 2.5 END AS case_mixed, REPLACE(TYPEOF(CASE WHEN a > 5 THEN 1 ELSE 2.5 END), ' NOT NULL', '') AS case_type, CASE WHEN b <> 0 THEN a / b ELSE -1 END AS case_guard,
  COALESCE(a, b, 99) AS coalesce3, COALESCE(s, 'none') AS coalesce_s, COALESCE(a, 1.5) AS coalesce_dec, REPLACE(TYPEOF(COALESCE(a, CAST(1 AS BIGINT))), ' NOT NULL', '') AS coalesce_type,
  NULLIF(a, 7) AS nullif1, NULLIF(s, 'x') AS nullif_s, NULLIF(a, b) AS nullif_ab, IFNULL(a, 0) AS ifnull1, IFNULL(s, '?') AS ifnull_s, IF(a > 5, 'yes', 'no') AS if1, IF(b <> 0, a / b, 0) AS if_guard, IF(s = 'x', 1, 2) AS if_null, REPLACE(TYPEOF(IF(a > 5, 1, CAST(2 AS BIGINT))), ' NOT NULL', '') AS if_type,
  a IS NULL AS is_null, a IS NOT NULL AS is_not_null, a IS DISTINCT FROM b AS is_distinct, a IS NOT DISTINCT FROM b AS is_not_distinct,
  (a > 5) IS TRUE AS is_true, (a > 5) IS FALSE AS is_false, (a > 5) IS UNKNOWN AS is_unknown, (a > 5) IS NOT TRUE AS is_not_true, (a > 5) IS NOT FALSE AS is_not_false, (a > 5) IS NOT UNKNOWN AS is_not_unknown,
  a BETWEEN 1 AND 7 AS between1, a NOT BETWEEN 1 AND 5 AS not_between, b BETWEEN a AND 10 AS between_cols,
  a IN (1, 2, 7) AS in1, a NOT IN (1, 2) AS not_in, s IN ('x', 'y') AS in_s, a IN (1, CAST(NULL AS INT)) AS in_null, a NOT IN (1, CAST(NULL AS INT)) AS not_in_null,
  a > 5 AND b > 0 AS and1, a > 5 OR b > 0 AS or1, NOT (a > 5) AS not1, (a > 5) AND (b > 0 OR s = 'x') AS logic1,
  a = b AS eq1, a <> b AS ne1, a < b AS lt1, a >= b AS ge1, a = 7.0 AS eq_dec, s = 'x' AS eq_s, s < 'y' AS lt_s, a > 6.5 AS gt_dec, CAST(a AS DOUBLE) = a AS eq_double,
  GREATEST(a, b) AS greatest1, LEAST(a, b) AS least1, GREATEST(s, 'm') AS greatest_s, GREATEST(a, 1.5) AS greatest_mixed, REPLACE(TYPEOF(GREATEST(a, 1.5)), ' NOT NULL', '') AS greatest_type,
  COALESCE(NULLIF(s, ''), 'empty') AS nested1, CASE WHEN s IS NULL THEN 'null' WHEN s = '' THEN 'empty' ELSE UPPER(s) END AS nested2, COALESCE(TRY_CAST(s AS INT), -1) AS try1
FROM t;
