-- An item that is not there of an array of literals.
CREATE TABLE t (id INT, n INT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/functions_arrays.jsonl', 'format' = 'json');
SELECT id, ARRAY[1, 2, 3][n] AS item FROM t;
