CREATE TABLE r (id INT, p ROW<v INT, x DOUBLE, q ROW<v BIGINT>>, o ROW<v INT, x DOUBLE>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/twins.jsonl', 'format' = 'json');
SELECT o.v, SUM(p.v) FROM r GROUP BY o.v HAVING SUM(p.v) > SUM(o.v) OR COUNT(p.v) = 0;
