-- Card fraud: payments come over Kafka; a card that pays often, or in many countries, within five minutes is told to the
-- fraud desk's topic. The same queries run on a Flink cluster: only the tables' WITH differs.
--
--   KAFKA=broker:9092 millstream run examples/card_fraud.sql
--
-- A record of topic payments:  {"ts":"2026-01-01T08:00:00","card":"4711","country":"FR","amount":19.90}

SET 'pipeline.name' = 'card-fraud';

CREATE TABLE payments (
  ts      TIMESTAMP(3),
  card    STRING,
  country STRING,
  amount  DECIMAL(10, 2),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = 'payments',
  'properties.bootstrap.servers' = '${KAFKA:-localhost:9092}',
  'properties.group.id' = 'card-fraud',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json',
  'scan.watermark.idle-timeout' = '10 s'
);

CREATE VIEW five_minutes AS
SELECT card, window_end,
       COUNT(*) AS payments,
       COUNT(DISTINCT country) AS countries,
       SUM(amount) AS amount
FROM TABLE(HOP(TABLE payments, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE))
GROUP BY window_start, window_end, card;

CREATE TABLE suspects (card STRING, at TIMESTAMP(3), payments BIGINT, countries BIGINT, amount DECIMAL(38, 2))
WITH (
  'connector' = 'kafka',
  'topic' = 'suspects',
  'properties.bootstrap.servers' = '${KAFKA:-localhost:9092}',
  'key.format' = 'raw',
  'key.fields' = 'card',
  'value.format' = 'json'
);

INSERT INTO suspects
SELECT card, window_end, payments, countries, amount FROM five_minutes WHERE payments >= 10 OR countries >= 3;
