CREATE TABLE IF NOT EXISTS `default`.`temps_partials`
(
    `window_start` DateTime64(3, 'UTC'),
    `window_end` DateTime64(3, 'UTC'),
    `device` String,
    `readings` UInt64,
    `temp_avg__sum` Nullable(Float64),
    `temp_avg__count` UInt64,
    `temp_max` Nullable(Float64),
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
PRIMARY KEY (`window_start`, `device`)
ORDER BY (`window_start`, `device`, `_site`, `_pipeline`, `_rev`, `_topic`, `_topic_id`, `_partition`, `_segment`, `_width`)
TTL toDateTime(greatest(least(window_end, toDateTime64('2100-01-01', 3, 'UTC')), toDateTime64('1970-01-01', 3, 'UTC'))) + toIntervalDay(400)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'weir: cumulative partial aggregates by source; read the view temps instead';

CREATE TABLE IF NOT EXISTS `default`.`weir_coverage`
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

CREATE TABLE IF NOT EXISTS `default`.`weir_dead_letters`
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
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: records and rows that could not go on, and why';

CREATE TABLE IF NOT EXISTS `default`.`weir_revisions`
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

CREATE TABLE IF NOT EXISTS `default`.`weir_dead_letter_marks`
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

CREATE TABLE IF NOT EXISTS `default`.`weir_usage`
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

CREATE VIEW IF NOT EXISTS `default`.`temps` AS
SELECT
    window_start,
    window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        window_start,
        window_end,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
    GROUP BY window_start, window_end, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS `default`.`weir_completeness` AS
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
    FROM `default`.`weir_coverage` FINAL
    GROUP BY site, pipeline, topic, partition
)
GROUP BY site, pipeline;

CREATE VIEW IF NOT EXISTS `default`.`hourly` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toStartOfInterval(window_start, toIntervalMillisecond(3600000)) AS _from,
        toStartOfInterval(window_end - toIntervalMillisecond(1), toIntervalMillisecond(3600000)) + toIntervalMillisecond(3600000) AS _to,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS `default`.`shifts` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toStartOfInterval(window_start - toIntervalMillisecond(19800000), toIntervalMillisecond(28800000)) + toIntervalMillisecond(19800000) AS _from,
        toStartOfInterval(window_end - toIntervalMillisecond(1) - toIntervalMillisecond(19800000), toIntervalMillisecond(28800000)) + toIntervalMillisecond(48600000) AS _to,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS `default`.`everybody` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toStartOfInterval(window_start, toIntervalMillisecond(10000)) AS _from,
        toStartOfInterval(window_end - toIntervalMillisecond(1), toIntervalMillisecond(10000)) + toIntervalMillisecond(10000) AS _to,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS `default`.`daily` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toTimeZone(toStartOfDay(window_start, 'Europe/Berlin'), 'UTC') AS _from,
        toTimeZone(toStartOfDay(toDateTime64(addDays(toDate32(window_end - toIntervalMillisecond(1), 'Europe/Berlin'), 1), 3, 'Europe/Berlin')), 'UTC') AS _to,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    enable_extended_results_for_datetime_functions = 1;

CREATE VIEW IF NOT EXISTS `default`.`havana` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toTimeZone(toStartOfDay(window_start, 'America/Havana'), 'UTC') AS _from,
        toTimeZone(toStartOfDay(toDateTime64(addDays(toDate32(window_end - toIntervalMillisecond(1), 'America/Havana'), 1), 3, 'America/Havana')), 'UTC') AS _to,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    enable_extended_results_for_datetime_functions = 1;

CREATE VIEW IF NOT EXISTS `default`.`beirut` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toTimeZone(toStartOfDay(toDateTime64(toStartOfMonth(window_start, 'Asia/Beirut'), 3, 'Asia/Beirut')), 'UTC') AS _from,
        toTimeZone(toStartOfDay(toDateTime64(addMonths(toStartOfMonth(window_end - toIntervalMillisecond(1), 'Asia/Beirut'), 1), 3, 'Asia/Beirut')), 'UTC') AS _to,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    enable_extended_results_for_datetime_functions = 1;

CREATE VIEW IF NOT EXISTS `default`.`weekly` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toTimeZone(toStartOfDay(toDateTime64(toMonday(window_start, 'America/St_Johns'), 3, 'America/St_Johns')), 'UTC') AS _from,
        toTimeZone(toStartOfDay(toDateTime64(addWeeks(toMonday(window_end - toIntervalMillisecond(1), 'America/St_Johns'), 1), 3, 'America/St_Johns')), 'UTC') AS _to,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    enable_extended_results_for_datetime_functions = 1;

CREATE VIEW IF NOT EXISTS `default`.`monthly` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        toTimeZone(toStartOfDay(toDateTime64(toStartOfMonth(window_start, 'Asia/Kathmandu'), 3, 'Asia/Kathmandu')), 'UTC') AS _from,
        toTimeZone(toStartOfDay(toDateTime64(addMonths(toStartOfMonth(window_end - toIntervalMillisecond(1), 'Asia/Kathmandu'), 1), 3, 'Asia/Kathmandu')), 'UTC') AS _to,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
        AND _from >= now64(3, 'UTC') - toIntervalSecond(34560000)
    GROUP BY _from, _to
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    enable_extended_results_for_datetime_functions = 1;

CREATE VIEW IF NOT EXISTS `default`.`total` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    `device`,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        min(window_start) AS _from,
        max(window_end) AS _to,
        `device`,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
    GROUP BY `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    compile_aggregate_expressions = 0;

CREATE VIEW IF NOT EXISTS `default`.`grand_total` AS
SELECT
    _from AS window_start,
    _to AS window_end,
    _m0 AS `readings`,
    _m1 / nullIf(_m2, 0) AS `temp_avg`,
    _m3 AS `temp_max`
FROM
(
    SELECT
        min(window_start) AS _from,
        max(window_end) AS _to,
        sum(`readings`) AS _m0,
        sum(`temp_avg__sum`) AS _m1,
        sum(`temp_avg__count`) AS _m2,
        max(`temp_max`) AS _m3
    FROM `default`.`temps_partials` FINAL
    WHERE arrayExists(
            s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                AND toUnixTimestamp64Milli(window_start) >= s.7 AND toUnixTimestamp64Milli(window_start) < s.8
                AND (_width = 0 OR _width = s.9),
            (
                SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, spans[i], spans[i + 1], spans[i + 2]))
                FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE notEmpty(spans))
                ARRAY JOIN range(1, length(spans), 3) AS i
            )
        ) = (_width != 0)
        AND (toUnixTimestamp64Milli(window_end) * 1000 <= (SELECT min(final_us) FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
            OR NOT arrayExists(
                s -> s.1 = _site AND s.2 = _pipeline AND s.3 = _rev AND s.4 = _topic_id AND s.5 = _partition AND s.6 = _segment
                    AND toUnixTimestamp64Milli(window_end) * 1000 > s.7,
                (
                    SELECT groupArray((site, pipeline, rev, topic_id, partition, segment, final_us))
                    FROM (SELECT * FROM `default`.`weir_coverage` FINAL WHERE open_rows > 0)
                )
            ))
    GROUP BY tuple()
)
SETTINGS do_not_merge_across_partitions_select_final = 1,
    compile_aggregate_expressions = 0;

CREATE VIEW IF NOT EXISTS `default`.`weir_usage_hourly` AS
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
    FROM `default`.`weir_usage` FINAL
    GROUP BY hour, site, pipeline, node, rev, step, digest, tags
)
SETTINGS do_not_merge_across_partitions_select_final = 1;
