CREATE TABLE a (k BIGINT, x BIGINT) WITH ('connector' = 'datagen');
CREATE TABLE b (k BIGINT, y BIGINT) WITH ('connector' = 'datagen');
SELECT a.x FROM a JOIN b ON a.k = b.k;
