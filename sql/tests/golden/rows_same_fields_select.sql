CREATE TABLE r (id INT, p ROW<v INT, x DOUBLE, q ROW<v BIGINT>>, o ROW<v INT, x DOUBLE>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/twins.jsonl', 'format' = 'json');
SELECT id, p.v, o.v, p.q.v, r.o.x FROM r WHERE p.v > o.v OR p.v IS NULL;
