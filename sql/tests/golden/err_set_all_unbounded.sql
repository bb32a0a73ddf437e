CREATE TABLE a (device STRING, v INT) WITH ('connector' = 'datagen');
SELECT device FROM a INTERSECT ALL SELECT device FROM a;
