SET 'execution.checkpointing.interval' = '1 h';
CREATE TABLE numbers (n BIGINT, d AS MOD(n, 7), v AS MOD(n * 31, 101), x AS CAST(MOD(n, 13) AS DOUBLE) / 4,
    name AS CAST(MOD(n, 5) AS STRING), ts AS CAST(TO_TIMESTAMP_LTZ(n * 10, 3) AS TIMESTAMP(3)), WATERMARK FOR ts AS ts - INTERVAL '0.5' SECOND)
WITH ('connector' = 'datagen', 'rows-per-second' = '1200', 'fields.n.kind' = 'sequence',
    'fields.n.start' = '0', 'fields.n.end' = '600');
SELECT d, v, window_start, place FROM (
    SELECT d, v, window_start, window_end, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, d ORDER BY v DESC, n) AS place
    FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '2' SECOND))) WHERE place <= 2;
