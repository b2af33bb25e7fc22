-- The client runs the job in its own process, and waits for it.
SET 'execution.target' = 'local';
SET 'execution.runtime-mode' = 'streaming';
SET 'parallelism.default' = '1';
SET 'table.dml-sync' = 'true';
SET 'table.local-time-zone' = 'UTC';

-- A window takes rows until the watermark is at its end: 2 s of disorder and the minute that the pipelines allow for late rows. The
-- watermark is the least of those of the partitions, so small fetches keep them together.
CREATE TABLE readings (
  device STRING,
  site STRING,
  ts BIGINT,
  temp DOUBLE,
  status STRING,
  seq BIGINT,
  moment AS TO_TIMESTAMP_LTZ(ts, 3),
  WATERMARK FOR moment AS moment - INTERVAL '62' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '{{.Topic}}',
  'properties.bootstrap.servers' = '{{.Brokers}}',
  'properties.group.id' = '{{.Name}}',
  'properties.max.partition.fetch.bytes' = '65536',
  'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = 'latest-offset',
  'scan.watermark.emit.strategy' = 'on-event',
  'format' = 'json'
);

CREATE TABLE answer (
  `start` BIGINT,
  `keys` ARRAY<STRING>,
  `values` ARRAY<DOUBLE>
) WITH (
  'connector' = 'filesystem',
  'path' = 'file://{{.Dir}}/answer',
  'format' = 'json'
);

