-- An API's own watch: the gateway in front of it posts its access log; per route and ten seconds this counts requests and
-- errors, shows them live, and calls whoever is on duty when more than one request in twenty fails.
--
--   API_TOKEN=secret ALERT_URL=https://on-duty.example/hook millstream run examples/api_backend.sql --http 127.0.0.1:8080
--   curl -H 'Authorization: Bearer secret' -d '{"ts":"2026-01-01T08:00:00","route":"/cart","status":200,"ms":12}' localhost:8081/access
--
-- A POST has one JSON object, several one a line, or an array of them; 200 means that the rows are in the pipeline.

SET 'pipeline.name' = 'api-backend';

CREATE TABLE access (
  ts     TIMESTAMP(3),
  route  STRING,
  status INT,
  ms     DOUBLE,
  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND
) WITH (
  'connector' = 'http',
  'listen' = '${LISTEN:-127.0.0.1:8081}',
  'path' = '/access',
  'token' = '${API_TOKEN}',
  'scan.watermark.idle-timeout' = '10 s'
);

CREATE VIEW routes AS
SELECT route, window_end,
       COUNT(*) AS requests,
       COUNT(*) FILTER (WHERE status >= 500) AS errors,
       AVG(ms) AS mean_ms,
       MAX(ms) AS slowest_ms
FROM TABLE(TUMBLE(TABLE access, DESCRIPTOR(ts), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, route;

SELECT window_end, route, requests, errors, ROUND(mean_ms, 1) AS mean_ms, slowest_ms FROM routes;

CREATE TABLE on_duty (route STRING, at TIMESTAMP(3), requests BIGINT, errors BIGINT)
WITH ('connector' = 'webhook', 'url' = '${ALERT_URL}', 'key' = 'route', 'private-addresses' = 'allow');

INSERT INTO on_duty
SELECT route, window_end, requests, errors FROM routes WHERE requests >= 20 AND errors * 20 > requests;
