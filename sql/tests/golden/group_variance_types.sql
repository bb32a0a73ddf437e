-- Variances of whole numbers and decimals are of their argument's type, as sums of squares of that type come out.
CREATE TABLE n (k STRING, v INT, b BIGINT, s TINYINT, m DECIMAL(6, 2), f FLOAT) WITH ('connector' = 'filesystem', 'path' = '${DATA}/deviations.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT k, COUNT(*) AS n, VAR_POP(v) AS vp, VAR_SAMP(v) AS vs, STDDEV_POP(v) AS sp, STDDEV_SAMP(v) AS ss, VAR_SAMP(b) AS bs, STDDEV_SAMP(s) AS ts,
  VAR_POP(m) AS mp, STDDEV_POP(m) AS msp, VAR_SAMP(f) AS fs, STDDEV_POP(f) AS fp
FROM n GROUP BY k;
