CREATE TABLE readings (device STRING, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = '${DATA}/readings.jsonl', 'format' = 'json');
EXPLAIN SELECT device, TUMBLE_END(p, INTERVAL '10' SECOND) AS ends, COUNT(*) AS n FROM readings GROUP BY device, TUMBLE(p, INTERVAL '10' SECOND);
