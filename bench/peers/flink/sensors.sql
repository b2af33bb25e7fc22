CREATE TEMPORARY VIEW calibrated AS
SELECT site, device, moment, temp + 0.4e0 AS warm FROM readings WHERE status = 'ok' AND temp > -40;

INSERT INTO answer
SELECT
  1000 * UNIX_TIMESTAMP(DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm:ss')),
  ARRAY[site, device],
  ARRAY[CAST(COUNT(*) AS DOUBLE), AVG(warm), MIN(warm), MAX(warm), MAX(warm * 9 / 5 + 32)]
FROM TABLE(TUMBLE(
  TABLE calibrated,
  DESCRIPTOR(moment), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, site, device;
