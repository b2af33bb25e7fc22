CREATE DATABASE IF NOT EXISTS `my-db`;

CREATE TABLE IF NOT EXISTS `my-db`.`t_partials`
(
    `window_start` DateTime64(3, 'UTC'),
    `window_end` DateTime64(3, 'UTC'),
    `k_bool` Bool,
    `n_bool` Nullable(Bool),
    `k_int8` Int8,
    `n_int8` Nullable(Int8),
    `k_int16` Int16,
    `n_int16` Nullable(Int16),
    `k_int32` Int32,
    `n_int32` Nullable(Int32),
    `k_int64` Int64,
    `n_int64` Nullable(Int64),
    `k_uint8` UInt8,
    `n_uint8` Nullable(UInt8),
    `k_uint16` UInt16,
    `n_uint16` Nullable(UInt16),
    `k_uint32` UInt32,
    `n_uint32` Nullable(UInt32),
    `k_uint64` UInt64,
    `n_uint64` Nullable(UInt64),
    `k_float32` Float32,
    `n_float32` Nullable(Float32),
    `k_float64` Float64,
    `n_float64` Nullable(Float64),
    `k_string` String,
    `n_string` Nullable(String),
    `k_binary` String,
    `n_binary` Nullable(String),
    `k_date32` Date32,
    `n_date32` Nullable(Date32),
    `k_timestamp_s` DateTime64(0, 'UTC'),
    `n_timestamp_s` Nullable(DateTime64(0, 'UTC')),
    `k_timestamp_ms` DateTime64(3, 'UTC'),
    `n_timestamp_ms` Nullable(DateTime64(3, 'UTC')),
    `k_timestamp_us` DateTime64(6, 'UTC'),
    `n_timestamp_us` Nullable(DateTime64(6, 'UTC')),
    `k_timestamp_ns` DateTime64(9, 'UTC'),
    `n_timestamp_ns` Nullable(DateTime64(9, 'UTC')),
    `k_decimal_9_2` Decimal(9, 2),
    `n_decimal_9_2` Nullable(Decimal(9, 2)),
    `k_decimal_18_4` Decimal(18, 4),
    `n_decimal_18_4` Nullable(Decimal(18, 4)),
    `k_decimal_38_10` Decimal(38, 10),
    `n_decimal_38_10` Nullable(Decimal(38, 10)),
    `readings` UInt64,
    `max_int8` Nullable(Int8),
    `max_int16` Nullable(Int16),
    `max_int32` Nullable(Int32),
    `max_int64` Nullable(Int64),
    `max_uint8` Nullable(UInt8),
    `max_uint16` Nullable(UInt16),
    `max_uint32` Nullable(UInt32),
    `max_uint64` Nullable(UInt64),
    `max_float32` Nullable(Float32),
    `max_float64` Nullable(Float64),
    `max_string` Nullable(String),
    `max_date32` Nullable(Date32),
    `max_timestamp_s` Nullable(DateTime64(0, 'UTC')),
    `max_timestamp_ms` Nullable(DateTime64(3, 'UTC')),
    `max_timestamp_us` Nullable(DateTime64(6, 'UTC')),
    `max_timestamp_ns` Nullable(DateTime64(9, 'UTC')),
    `max_decimal_9_2` Nullable(Decimal(9, 2)),
    `max_decimal_18_4` Nullable(Decimal(18, 4)),
    `max_decimal_38_10` Nullable(Decimal(38, 10)),
    `_rows` UInt64,
    `_site` String,
    `_pipeline` String,
    `_rev` UInt64,
    `_topic` String,
    `_topic_id` UUID,
    `_partition` UInt32,
    `_segment` UInt64,
    `_width` UInt32,
    `_version` UInt64,
    `_node` String,
    `_shipped` Enum8('live' = 0, 'backlog' = 1),
    `_received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`_version`)
PARTITION BY toYYYYMMDD(window_start)
PRIMARY KEY (`window_start`, `k_bool`, `n_bool`, `k_int8`, `n_int8`, `k_int16`, `n_int16`, `k_int32`, `n_int32`, `k_int64`, `n_int64`, `k_uint8`, `n_uint8`, `k_uint16`, `n_uint16`, `k_uint32`, `n_uint32`, `k_uint64`, `n_uint64`, `k_float32`, `n_float32`, `k_float64`, `n_float64`, `k_string`, `n_string`, `k_binary`, `n_binary`, `k_date32`, `n_date32`, `k_timestamp_s`, `n_timestamp_s`, `k_timestamp_ms`, `n_timestamp_ms`, `k_timestamp_us`, `n_timestamp_us`, `k_timestamp_ns`, `n_timestamp_ns`, `k_decimal_9_2`, `n_decimal_9_2`, `k_decimal_18_4`, `n_decimal_18_4`, `k_decimal_38_10`, `n_decimal_38_10`)
ORDER BY (`window_start`, `k_bool`, `n_bool`, `k_int8`, `n_int8`, `k_int16`, `n_int16`, `k_int32`, `n_int32`, `k_int64`, `n_int64`, `k_uint8`, `n_uint8`, `k_uint16`, `n_uint16`, `k_uint32`, `n_uint32`, `k_uint64`, `n_uint64`, `k_float32`, `n_float32`, `k_float64`, `n_float64`, `k_string`, `n_string`, `k_binary`, `n_binary`, `k_date32`, `n_date32`, `k_timestamp_s`, `n_timestamp_s`, `k_timestamp_ms`, `n_timestamp_ms`, `k_timestamp_us`, `n_timestamp_us`, `k_timestamp_ns`, `n_timestamp_ns`, `k_decimal_9_2`, `n_decimal_9_2`, `k_decimal_18_4`, `n_decimal_18_4`, `k_decimal_38_10`, `n_decimal_38_10`, `_site`, `_pipeline`, `_rev`, `_topic`, `_topic_id`, `_partition`, `_segment`, `_width`)
TTL toDateTime(greatest(least(window_end, toDateTime64('2100-01-01', 3, 'UTC')), toDateTime64('1970-01-01', 3, 'UTC'))) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, allow_nullable_key = 1
COMMENT 'weir: cumulative partial aggregates by source; read the view t instead';

CREATE TABLE IF NOT EXISTS `my-db`.`weir_coverage`
(
    `site` String,
    `pipeline` String,
    `rev` UInt64,
    `topic` String,
    `topic_id` UUID,
    `partition` UInt32,
    `segment` UInt64,
    `start_offset` Int64,
    `version` UInt64,
    `watermark_us` Int64,
    `final_us` Int64,
    `records_in` Int64,
    `expanded` Int64,
    `aggregated` Int64,
    `late` Int64,
    `filtered` Int64,
    `rejected` Int64,
    `gap` Int64,
    `gap_reason` String,
    `node` String,
    `hash` String,
    `content_columns` String,
    `content_final` UInt64,
    `content_all` UInt64,
    `dropped` Int64,
    `spans` Array(Int64),
    `open_rows` Int64,
    `lost_rows` Int64,
    `leader_epoch` Nullable(Int32),
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC'),
    `precedence` UInt128 MATERIALIZED bitOr(bitShiftLeft(toUInt128(version), 64), toUInt128(bitNot(toUInt64(open_rows))))
)
ENGINE = ReplacingMergeTree(`precedence`)
ORDER BY (`site`, `pipeline`, `topic`, `topic_id`, `partition`, `rev`, `segment`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: what was read from each segment of each partition, and where it went';

CREATE TABLE IF NOT EXISTS `my-db`.`weir_dead_letters`
(
    `site` String,
    `pipeline` String,
    `rev` UInt64,
    `topic` String,
    `topic_id` UUID,
    `partition` UInt32,
    `segment` UInt64,
    `record_offset` Int64,
    `step` String,
    `row_index` Int32,
    `time` DateTime64(3, 'UTC'),
    `reason` String,
    `detail` String,
    `record_key` String,
    `payload` String,
    `truncated` Bool,
    `is_row` Bool,
    `node` String,
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree()
ORDER BY (`site`, `pipeline`, `topic`, `topic_id`, `partition`, `rev`, `segment`, `record_offset`, `step`, `row_index`)
TTL toDateTime(greatest(least(received_at, toDateTime64('2100-01-01', 3, 'UTC')), toDateTime64('1970-01-01', 3, 'UTC'))) + toIntervalSecond(129600)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: records and rows that could not go on, and why';

CREATE TABLE IF NOT EXISTS `my-db`.`weir_revisions`
(
    `site` String,
    `pipeline` String,
    `rev` UInt64,
    `node` String,
    `started_at` DateTime64(3, 'UTC'),
    `last_seen` DateTime64(3, 'UTC'),
    `weir_version` String,
    `spec` String CODEC(ZSTD(1)),
    `spec_sha256` String,
    `operator_steps` Array(String),
    `operator_files` Array(String),
    `operator_sha256` Array(String),
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`last_seen`)
ORDER BY (`site`, `pipeline`, `rev`, `node`, `started_at`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: what each revision of a pipeline consists of, and which node ran it when';

CREATE TABLE IF NOT EXISTS `my-db`.`weir_dead_letter_marks`
(
    `site` String,
    `pipeline` String,
    `rev` UInt64,
    `topic` String,
    `topic_id` UUID,
    `partition` UInt32,
    `segment` UInt64,
    `record_offset` Int64,
    `step` String,
    `row_index` Int32,
    `mark` String,
    `time` DateTime64(3, 'UTC'),
    `reason` String,
    `target` String,
    `target_partition` Int32,
    `target_offset` Int64,
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree()
ORDER BY (`site`, `pipeline`, `topic`, `topic_id`, `partition`, `rev`, `segment`, `record_offset`, `step`, `row_index`, `mark`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: which dead letters were replayed, and which purged';

CREATE TABLE IF NOT EXISTS `my-db`.`weir_usage`
(
    `hour` DateTime('UTC'),
    `site` String,
    `pipeline` String,
    `node` String,
    `rev` UInt64,
    `step` String,
    `digest` String,
    `run` UInt64,
    `version` UInt64,
    `started_at` DateTime64(3, 'UTC'),
    `tags` Map(String, String),
    `batches` UInt64,
    `rows_in` UInt64,
    `rows_out` UInt64,
    `rows_rejected` UInt64,
    `bytes_in` UInt64,
    `bytes_out` UInt64,
    `bytes_copied` UInt64,
    `time_ns` UInt64,
    `fuel` UInt64,
    `instances` UInt64,
    `traps` UInt64,
    `retries` UInt64,
    `log_lines_dropped` UInt64,
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`version`)
PARTITION BY toYYYYMM(hour)
ORDER BY (`hour`, `site`, `pipeline`, `node`, `rev`, `step`, `digest`, `run`)
TTL hour + toIntervalDay(400)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'weir: what each step of each pipeline used, by hour and run; read the view weir_usage_hourly instead';

CREATE VIEW IF NOT EXISTS `my-db`.`t` AS
SELECT
    window_start,
    window_end,
    `k_bool`,
    `n_bool`,
    `k_int8`,
    `n_int8`,
    `k_int16`,
    `n_int16`,
    `k_int32`,
    `n_int32`,
    `k_int64`,
    `n_int64`,
    `k_uint8`,
    `n_uint8`,
    `k_uint16`,
    `n_uint16`,
    `k_uint32`,
    `n_uint32`,
    `k_uint64`,
    `n_uint64`,
    `k_float32`,
    `n_float32`,
    `k_float64`,
    `n_float64`,
    `k_string`,
    `n_string`,
    `k_binary`,
    `n_binary`,
    `k_date32`,
    `n_date32`,
    `k_timestamp_s`,
    `n_timestamp_s`,
    `k_timestamp_ms`,
    `n_timestamp_ms`,
    `k_timestamp_us`,
    `n_timestamp_us`,
    `k_timestamp_ns`,
    `n_timestamp_ns`,
    `k_decimal_9_2`,
    `n_decimal_9_2`,
    `k_decimal_18_4`,
    `n_decimal_18_4`,
    `k_decimal_38_10`,
    `n_decimal_38_10`,
    _m0 AS `readings`,
    _m1 AS `max_int8`,
    _m2 AS `max_int16`,
    _m3 AS `max_int32`,
    _m4 AS `max_int64`,
    _m5 AS `max_uint8`,
    _m6 AS `max_uint16`,
    _m7 AS `max_uint32`,
    _m8 AS `max_uint64`,
    _m9 AS `max_float32`,
    _m10 AS `max_float64`,
    _m11 AS `max_string`,
    _m12 AS `max_date32`,
    _m13 AS `max_timestamp_s`,
    _m14 AS `max_timestamp_ms`,
    _m15 AS `max_timestamp_us`,
    _m16 AS `max_timestamp_ns`,
    _m17 AS `max_decimal_9_2`,
    _m18 AS `max_decimal_18_4`,
    _m19 AS `max_decimal_38_10`
FROM
(
    SELECT
        window_start,
        window_end,
        `k_bool`,
        `n_bool`,
        `k_int8`,
        `n_int8`,
        `k_int16`,
        `n_int16`,
        `k_int32`,
        `n_int32`,
        `k_int64`,
        `n_int64`,
        `k_uint8`,
        `n_uint8`,
        `k_uint16`,
        `n_uint16`,
        `k_uint32`,
        `n_uint32`,
        `k_uint64`,
        `n_uint64`,
        `k_float32`,
        `n_float32`,
        `k_float64`,
        `n_float64`,
        `k_string`,
        `n_string`,
        `k_binary`,
        `n_binary`,
        `k_date32`,
        `n_date32`,
        `k_timestamp_s`,
        `n_timestamp_s`,
        `k_timestamp_ms`,
        `n_timestamp_ms`,
        `k_timestamp_us`,
        `n_timestamp_us`,
        `k_timestamp_ns`,
        `n_timestamp_ns`,
        `k_decimal_9_2`,
        `n_decimal_9_2`,
        `k_decimal_18_4`,
        `n_decimal_18_4`,
        `k_decimal_38_10`,
        `n_decimal_38_10`,
        sum(`readings`) AS _m0,
        max(`max_int8`) AS _m1,
        max(`max_int16`) AS _m2,
        max(`max_int32`) AS _m3,
        max(`max_int64`) AS _m4,
        max(`max_uint8`) AS _m5,
        max(`max_uint16`) AS _m6,
        max(`max_uint32`) AS _m7,
        max(`max_uint64`) AS _m8,
        max(`max_float32`) AS _m9,
        max(`max_float64`) AS _m10,
        max(`max_string`) AS _m11,
        max(`max_date32`) AS _m12,
        max(`max_timestamp_s`) AS _m13,
        max(`max_timestamp_ms`) AS _m14,
        max(`max_timestamp_us`) AS _m15,
        max(`max_timestamp_ns`) AS _m16,
        max(`max_decimal_9_2`) AS _m17,
        max(`max_decimal_18_4`) AS _m18,
        max(`max_decimal_38_10`) AS _m19
    FROM `my-db`.`t_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `my-db`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
    GROUP BY window_start, window_end, `k_bool`, `n_bool`, `k_int8`, `n_int8`, `k_int16`, `n_int16`, `k_int32`, `n_int32`, `k_int64`, `n_int64`, `k_uint8`, `n_uint8`, `k_uint16`, `n_uint16`, `k_uint32`, `n_uint32`, `k_uint64`, `n_uint64`, `k_float32`, `n_float32`, `k_float64`, `n_float64`, `k_string`, `n_string`, `k_binary`, `n_binary`, `k_date32`, `n_date32`, `k_timestamp_s`, `n_timestamp_s`, `k_timestamp_ms`, `n_timestamp_ms`, `k_timestamp_us`, `n_timestamp_us`, `k_timestamp_ns`, `n_timestamp_ns`, `k_decimal_9_2`, `n_decimal_9_2`, `k_decimal_18_4`, `n_decimal_18_4`, `k_decimal_38_10`, `n_decimal_38_10`
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    compile_aggregate_expressions = 0;

CREATE VIEW IF NOT EXISTS `my-db`.`weir_completeness` AS
SELECT
    site,
    pipeline,
    count() AS partitions,
    countIf(_final <= -2208988800000000) AS partitions_without_rows,
    fromUnixTimestamp64Micro(minOrNullIf(_final, _final > -2208988800000000), 'UTC') AS complete_until,
    fromUnixTimestamp64Micro(minOrNullIf(_watermark, _watermark > -2208988800000000), 'UTC') AS watermark,
    sum(_records_in) AS records_in,
    sum(_late) AS late,
    sum(_rejected) AS rejected,
    sum(_gap) AS gap,
    arrayDistinct(groupArrayArray(_gap_reasons)) AS gap_reasons,
    sum(_dropped) AS dropped,
    sum(_lost) AS lost,
    fromUnixTimestamp64Milli(minOrNull(_coarse_from), 'UTC') AS coarse_from,
    fromUnixTimestamp64Milli(maxOrNull(_coarse_until), 'UTC') AS coarse_until,
    max(_heard_at) AS heard_at
FROM
(
    SELECT
        site,
        pipeline,
        argMax(final_us, (received_at, segment, version)) AS _final,
        argMax(watermark_us, (received_at, segment, version)) AS _watermark,
        sum(records_in) AS _records_in,
        sum(late) AS _late,
        sum(rejected) AS _rejected,
        sum(gap) AS _gap,
        groupUniqArrayIf(gap_reason, gap_reason != '') AS _gap_reasons,
        sum(dropped) AS _dropped,
        sum(lost_rows) AS _lost,
        groupArrayArray(arrayFilter((at, i) -> modulo(i, 3) = 1 AND spans[i + 2] > 0, spans, arrayEnumerate(spans))) AS _coarse_starts,
        groupArrayArray(arrayFilter((at, i) -> modulo(i, 3) = 2 AND spans[i + 1] > 0, spans, arrayEnumerate(spans))) AS _coarse_ends,
        if(empty(_coarse_starts), NULL, arrayMin(_coarse_starts)) AS _coarse_from,
        if(empty(_coarse_ends), NULL, arrayMax(_coarse_ends)) AS _coarse_until,
        max(received_at) AS _heard_at
    FROM `my-db`.`weir_coverage` FINAL
    GROUP BY site, pipeline, topic, partition
)
GROUP BY site, pipeline;

CREATE VIEW IF NOT EXISTS `my-db`.`weir_usage_hourly` AS
SELECT
    hour,
    site,
    pipeline,
    node,
    rev,
    step,
    digest,
    tags,
    _batches AS batches,
    _rows_in AS rows_in,
    _rows_out AS rows_out,
    _rows_rejected AS rows_rejected,
    _bytes_in AS bytes_in,
    _bytes_out AS bytes_out,
    _bytes_copied AS bytes_copied,
    _time_ns / 1000000000 AS seconds,
    _fuel AS fuel,
    _instances AS instances,
    _traps AS traps,
    _retries AS retries,
    _log_lines_dropped AS log_lines_dropped
FROM
(
    SELECT
        hour,
        site,
        pipeline,
        node,
        rev,
        step,
        digest,
        tags,
        sum(batches) AS _batches,
        sum(rows_in) AS _rows_in,
        sum(rows_out) AS _rows_out,
        sum(rows_rejected) AS _rows_rejected,
        sum(bytes_in) AS _bytes_in,
        sum(bytes_out) AS _bytes_out,
        sum(bytes_copied) AS _bytes_copied,
        sum(time_ns) AS _time_ns,
        sum(fuel) AS _fuel,
        sum(instances) AS _instances,
        sum(traps) AS _traps,
        sum(retries) AS _retries,
        sum(log_lines_dropped) AS _log_lines_dropped
    FROM `my-db`.`weir_usage` FINAL
    GROUP BY hour, site, pipeline, node, rev, step, digest, tags
)
SETTINGS do_not_merge_across_partitions_select_final = 1;
