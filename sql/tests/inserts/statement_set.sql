CREATE TABLE e (id INT, device STRING, v INT, x DOUBLE, amount DECIMAL(12, 2), note STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '2' SECOND)
WITH ('connector' = 'filesystem', 'path' = '${DATA}/in_order.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE high (id INT, v BIGINT) WITH ('connector' = 'filesystem', 'path' = '${OUT}/high/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
CREATE TABLE low (id BIGINT, device STRING) WITH ('connector' = 'filesystem', 'path' = '${OUT}/low/', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
EXECUTE STATEMENT SET BEGIN
INSERT INTO high SELECT id, v FROM e WHERE v > 4;
INSERT INTO low SELECT id, device FROM e WHERE v <= 4;
INSERT INTO low SELECT id + 100, note FROM e WHERE note = 'red';
END;
