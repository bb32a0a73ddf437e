CREATE TABLE r (id INT, p ROW<v INT, x DOUBLE, q ROW<v BIGINT>>, o ROW<v INT, x DOUBLE>) WITH ('connector' = 'filesystem', 'path' = '${DATA}/twins.jsonl', 'format' = 'json');
SELECT AVG(p.v) AS pv, AVG(o.v) AS ov, SUM(p.q.v) AS qv, MAX(r.p.x) AS px, MAX(o.x) AS ox FROM r;
