CREATE TABLE r (id INT, p ROW<v INT, x DOUBLE, q ROW<v BIGINT>>, o ROW<v INT, x DOUBLE>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/twins.jsonl', 'format' = 'json');
SELECT id, p.v, o.v FROM r ORDER BY o.v DESC, p.v, id LIMIT 3;
