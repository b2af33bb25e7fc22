CREATE TEMPORARY VIEW hot AS
SELECT moment, seq, temp * 9 / 5 + 32 AS temp_f FROM readings WHERE temp > 30;

INSERT INTO answer
SELECT
  1000 * UNIX_TIMESTAMP(DATE_FORMAT(window_start, 'yyyy-MM-dd HH:mm:ss')),
  CAST(NULL AS ARRAY<STRING>),
  ARRAY[CAST(COUNT(*) AS DOUBLE), CAST(SUM(seq) AS DOUBLE), MAX(temp_f), SUM(temp_f)]
FROM TABLE(TUMBLE(TABLE hot, DESCRIPTOR(moment), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end;
