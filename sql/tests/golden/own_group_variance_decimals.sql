CREATE TABLE n (k STRING, m DECIMAL(6, 2)) WITH ('connector' = 'filesystem', 'path' = '${DATA}/deviations.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT k, VAR_SAMP(m) AS ms, STDDEV_SAMP(m) AS mss FROM n GROUP BY k;
