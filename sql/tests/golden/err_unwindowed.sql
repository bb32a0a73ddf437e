CREATE TABLE readings (device STRING, temperature DOUBLE) WITH ('connector' = 'datagen');
SELECT device,
       AVG(temperature) AS mean
FROM readings GROUP BY device;
