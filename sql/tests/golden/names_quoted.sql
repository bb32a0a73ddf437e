CREATE TABLE `odd names` (`select` INT, `a b` STRING, `Ünï` DOUBLE) WITH ('connector' = 'filesystem', 'path' = '${DATA}/odd_names.jsonl', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601');
SELECT `select` AS `group`, `a b` || '!' AS `x.y`, `Ünï` FROM `odd names` WHERE `select` > 1;
