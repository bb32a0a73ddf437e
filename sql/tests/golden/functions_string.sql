-- Every string function over plain, blank, non-ASCII, empty and missing text.
CREATE TABLE t (
  id INT,
  s STRING,
  p STRING,
  n INT
) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_string.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT
  id,
  CHAR_LENGTH(s) AS char_length1, CHARACTER_LENGTH(s) AS character_length1,
  UPPER(s) AS upper1, LOWER(s) AS lower1, INITCAP(s) AS initcap1,
  POSITION(p IN s) AS position_in, LOCATE(p, s) AS locate2, LOCATE(p, s, 6) AS locate3, LOCATE(p, s, n) AS locate_n, INSTR(s, p) AS instr2,
  TRIM(s) AS trim1, TRIM(BOTH 'H' FROM s) AS trim_both, TRIM(LEADING 'He' FROM s) AS trim_leading, TRIM(TRAILING 'd' FROM s) AS trim_trailing,
  LTRIM(s) AS ltrim1, RTRIM(s) AS rtrim1, BTRIM(s) AS btrim1, LTRIM(s, 'eH ') AS ltrim2, RTRIM(s, 'dl ') AS rtrim2, BTRIM(s, 'dH ') AS btrim2,
  REPEAT(s, n) AS repeat_n, REPEAT(s, 2) AS repeat_2, REPLACE(s, 'l', 'LL') AS replace1, REPLACE(s, p, '_') AS replace_p,
  REGEXP_REPLACE(s, 'o|e', '*') AS regexp_replace1, REGEXP_REPLACE(s, '(l+)', '<$1>') AS regexp_replace_group, REGEXP_REPLACE(s, '([', 'x') AS regexp_replace_bad,
  REGEXP_EXTRACT(s, '(H)(e)', 2) AS regexp_extract2, REGEXP_EXTRACT(s, 'l+o') AS regexp_extract0, REGEXP_EXTRACT(s, '(H)', 3) AS regexp_extract_none, REGEXP_EXTRACT(s, '([') AS regexp_extract_bad,
  REGEXP(s, 'l+') AS regexp1, REGEXP(s, p) AS regexp_p, REGEXP(s, '') AS regexp_empty,
  OVERLAY(s PLACING 'XY' FROM 2) AS overlay3, OVERLAY(s PLACING 'XY' FROM 2 FOR 4) AS overlay4, OVERLAY(s PLACING 'XY' FROM 20 FOR 4) AS overlay_far, OVERLAY(s PLACING 'XY' FROM n FOR 0) AS overlay_n,
  SUBSTRING(s FROM 2) AS substring2, SUBSTRING(s FROM 2 FOR 3) AS substring3, SUBSTRING(s, n) AS substring_n, SUBSTRING(s, 0, 2) AS substring_0, SUBSTRING(s, -3) AS substring_neg, SUBSTRING(s, -3, 2) AS substring_neg2, SUBSTR(s, 3) AS substr2, SUBSTR(s, 3, 100) AS substr3, SUBSTRING(s, 2, 0) AS substring_none,
  CONCAT(s, '-', p) AS concat3, CONCAT(s) AS concat1, CONCAT_WS('~', s, p, 'z') AS concat_ws4, CONCAT_WS(p, 'a', s, 'b') AS concat_ws_p, s || '+' || p AS pipes,
  LPAD(REPLACE(s, '𝄞', 'y'), 12, '*') AS lpad12, LPAD(s, 3, '*') AS lpad3, LPAD(REPLACE(s, '𝄞', 'y'), 14, 'ab') AS lpad_ab, LPAD(s, -1, '*') AS lpad_neg, LPAD(REPLACE(s, '𝄞', 'y'), 14, '') AS lpad_empty, RPAD(REPLACE(s, '𝄞', 'y'), 14, 'ab') AS rpad14, RPAD(s, 3, '*') AS rpad3, RPAD(s, 0, '*') AS rpad0,
  `LEFT`(s, 3) AS left3, `LEFT`(s, n) AS left_n, `RIGHT`(s, 3) AS right3, `RIGHT`(s, n) AS right_n, `LEFT`(s, 100) AS left100,
  ASCII(s) AS ascii1, CHR(65) AS chr65, CHR(321) AS chr321, CHR(-1) AS chr_neg, CHR(n) AS chr_n, REVERSE(s) AS reverse1,
  SPLIT_INDEX(s, ' ', 1) AS split_index1, SPLIT_INDEX(s, ' ', 9) AS split_index9, SPLIT_INDEX(s, 'l', 1) AS split_index_l, SPLIT_INDEX(s, 32, 0) AS split_index_code, SPLIT_INDEX(s, ' ', -1) AS split_index_neg,
  TO_BASE64(s) AS to_base64, FROM_BASE64('aGVsbG8gd29ybGQ=') AS from_base64, FROM_BASE64(TO_BASE64(s)) AS base64_back,
  STARTSWITH(s, 'He') AS startswith1, STARTSWITH(s, p) AS startswith_p, ENDSWITH(s, 'ld') AS endswith1, STARTSWITH(s, '') AS startswith_empty,
  TRANSLATE(s, 'lo', 'L') AS translate1, TRANSLATE(s, '', 'x') AS translate_empty, TRANSLATE(s, 'Hö', 'hO') AS translate2,
  ELT(2, s, p) AS elt2, ELT(3, s, p) AS elt3, ELT(n, 'a', 'b', 'c') AS elt_n,
  IS_ALPHA(s) AS is_alpha1, IS_DIGIT(s) AS is_digit1, IS_DECIMAL(s) AS is_decimal1, IS_ALPHA('abc') AS is_alpha2, IS_DIGIT('0123') AS is_digit2, IS_DECIMAL('-1.5') AS is_decimal2, IS_DECIMAL('1e5') AS is_decimal3,
  s LIKE 'He%' AS like_prefix, s LIKE '%o%' AS like_contains, s LIKE '_e%d' AS like_general, s NOT LIKE '%o%' AS not_like, s LIKE '%!%%' ESCAPE '!' AS like_escape, s LIKE p AS like_p, s LIKE '' AS like_empty, s LIKE '%ld' AS like_suffix,
  s SIMILAR TO 'H%(W|x)orld' AS similar1, s NOT SIMILAR TO '[A-Z]%' AS similar2,
  PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'HOST') AS url_host, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'PATH') AS url_path, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'QUERY') AS url_query, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'REF') AS url_ref, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'PROTOCOL') AS url_protocol, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'FILE') AS url_file, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'AUTHORITY') AS url_authority, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'USERINFO') AS url_userinfo, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'QUERY', 'y') AS url_y, PARSE_URL('http://user@host.org:8080/a/b?x=1&y=2#top', 'QUERY', 'z') AS url_z, PARSE_URL(s, 'HOST') AS url_bad
FROM t;
