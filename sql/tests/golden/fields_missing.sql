-- Fields that rows do not have are NULL, those that the table does not have are left.
CREATE TABLE t (id INT, nothing STRING, v BIGINT, device STRING) WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT id, nothing, v, device FROM t WHERE id < 5;
