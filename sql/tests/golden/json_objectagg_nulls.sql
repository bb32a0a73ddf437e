CREATE TABLE c (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/nulls.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT device, JSON_OBJECTAGG(CAST(id AS STRING) VALUE v) AS plain, JSON_OBJECTAGG(CAST(id AS STRING) VALUE v NULL ON NULL) AS with_null, JSON_OBJECTAGG(KEY CAST(id AS STRING) VALUE note ABSENT ON NULL) AS no_null FROM c GROUP BY device;
