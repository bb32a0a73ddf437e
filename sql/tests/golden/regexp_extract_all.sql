CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/texts.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, JSON_STRING(REGEXP_EXTRACT_ALL(s, '([0-9])([0-9])?')) AS a, JSON_STRING(REGEXP_EXTRACT_ALL(s, '([0-9])([0-9])?', 2)) AS b, JSON_STRING(REGEXP_EXTRACT_ALL(s, '[0-9]+', 0)) AS c,
  JSON_STRING(REGEXP_EXTRACT_ALL(s, '[0-9]')) AS e, JSON_STRING(REGEXP_EXTRACT_ALL(s, '(', 0)) AS g, JSON_STRING(REGEXP_EXTRACT_ALL(s, '([0-9])', 3)) AS h, JSON_STRING(REGEXP_EXTRACT_ALL(s, '')) AS l, JSON_STRING(REGEXP_EXTRACT_ALL(s, '', 0)) AS m, JSON_STRING(REGEXP_EXTRACT_ALL(s, 'x*', -1)) AS n
FROM c WHERE id < 50 AND id <> 47;
