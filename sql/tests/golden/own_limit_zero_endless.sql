CREATE TABLE e (id INT, v INT) WITH ('connector' = 'datagen');
SELECT id, v FROM e LIMIT 0;
