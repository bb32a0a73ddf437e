SELECT TRIM(`both`) AS a, TRIM(`leading` FROM `both`) AS b FROM (VALUES ('  x ', ' ')) AS v (`both`, `leading`);
