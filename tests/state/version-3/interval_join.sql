SET 'execution.checkpointing.interval' = '1 h';
CREATE TABLE numbers (n BIGINT, d AS MOD(n, 7), v AS MOD(n * 31, 101), x AS CAST(MOD(n, 13) AS DOUBLE) / 4,
    name AS CAST(MOD(n, 5) AS STRING), ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts - INTERVAL '0.5' SECOND)
WITH ('connector' = 'datagen', 'rows-per-second' = '1200', 'fields.n.kind' = 'sequence',
    'fields.n.start' = '0', 'fields.n.end' = '600');
CREATE TABLE others (m BIGINT, e AS MOD(m, 11), ts AS TO_TIMESTAMP_LTZ(m * 10, 3),
    WATERMARK FOR ts AS ts - INTERVAL '0.5' SECOND)
WITH ('connector' = 'datagen', 'rows-per-second' = '1200', 'fields.m.kind' = 'sequence',
    'fields.m.start' = '0', 'fields.m.end' = '600');
SELECT n, m, numbers.ts AS a, others.ts AS b FROM numbers JOIN others
ON d = e AND numbers.ts BETWEEN others.ts - INTERVAL '0.2' SECOND AND others.ts + INTERVAL '0.2' SECOND;
