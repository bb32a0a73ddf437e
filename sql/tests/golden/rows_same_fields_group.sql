CREATE TABLE r (id INT, p ROW<v INT, x DOUBLE, q ROW<v BIGINT>>, o ROW<v INT, x DOUBLE>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/twins.jsonl', 'format' = 'json');
SELECT p.v, o.v, COUNT(*) AS n, SUM(o.x) AS s FROM r GROUP BY p.v, o.v;
