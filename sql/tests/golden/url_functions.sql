CREATE TABLE c (id INT, s STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/urls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, URL_ENCODE(s) AS a, URL_DECODE(s) AS b, URL_DECODE(URL_ENCODE(s)) AS c, PARSE_URL(s, 'HOST') AS e, PARSE_URL(s, 'QUERY', 'k') AS g FROM c;
