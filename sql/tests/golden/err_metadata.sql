-- Metadata that the connector can write takes a value, unless it is VIRTUAL; what it can only read ('qos') takes none.
CREATE TABLE answers (
  device STRING,
  kind STRING METADATA FROM 'content-type',
  kept BOOLEAN METADATA FROM 'retained',
  level INT METADATA FROM 'qos',
  more MAP<STRING, STRING> METADATA FROM 'user-properties' VIRTUAL
) WITH ('connector' = 'mqtt', 'url' = 'mqtt://localhost', 'topic' = 't/{device}');
INSERT INTO answers SELECT device FROM (VALUES ('a')) AS v(device);
