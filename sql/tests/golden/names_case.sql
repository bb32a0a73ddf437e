CREATE TABLE t (Id INT, id INT, ID INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/odd_names.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT Id AS a, id AS b, ID AS c FROM t;
