-- Rows, arrays and maps cast part by part.
CREATE TABLE t (
  id INT, a ARRAY<INT>, s ARRAY<STRING>, m MAP<STRING, INT>, r ROW<x INT, y STRING>, ar ARRAY<ROW<x INT, y STRING>>
) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_arrays.jsonl', 'format' = 'json');
SELECT
  id,
  JSON_STRING(CAST(a AS ARRAY<BIGINT>)) AS bigints,
  JSON_STRING(CAST(a AS ARRAY<STRING>)) AS texts,
  JSON_STRING(CAST(a AS ARRAY<DOUBLE>)) AS doubles,
  CAST(m AS MAP<STRING, BIGINT>)['k'] AS of_map,
  CAST(r AS ROW<p BIGINT, q STRING>).p AS p,
  CAST(r AS ROW<p STRING, q STRING>).q AS q,
  CAST(ar AS ARRAY<ROW<x STRING, y STRING>>)[1].x AS nested,
  CAST(r AS STRING) AS row_text,
  CAST(a AS STRING) AS array_text,
  CAST(ar AS STRING) AS rows_text
FROM t;
