CREATE DATABASE IF NOT EXISTS `weir`;

CREATE TABLE IF NOT EXISTS `weir`.`temps_partials`
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
    `_version` UInt64,
    `_node` String,
    `_received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`_version`)
PARTITION BY toYYYYMMDD(window_start)
PRIMARY KEY (`window_start`, `device`)
ORDER BY (`window_start`, `device`, `_site`, `_pipeline`, `_rev`, `_topic`, `_topic_id`, `_partition`, `_segment`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: cumulative partial aggregates by source; read the view temps instead';

CREATE TABLE IF NOT EXISTS `weir`.`weir_coverage`
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
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(`version`)
ORDER BY (`site`, `pipeline`, `topic`, `topic_id`, `partition`, `rev`, `segment`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: what was read from each segment of each partition, and where it went';

CREATE TABLE IF NOT EXISTS `weir`.`weir_dead_letters`
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
    `node` String,
    `received_at` DateTime64(3, 'UTC') MATERIALIZED now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree()
ORDER BY (`site`, `pipeline`, `topic`, `topic_id`, `partition`, `rev`, `segment`, `record_offset`, `step`, `row_index`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'weir: records and rows that could not go on, and why';

CREATE VIEW IF NOT EXISTS `weir`.`temps` AS
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
    FROM `weir`.`temps_partials` FINAL
    GROUP BY window_start, window_end, `device`
)
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS `weir`.`weir_completeness` AS
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
        max(received_at) AS _heard_at
    FROM `weir`.`weir_coverage` FINAL
    GROUP BY site, pipeline, topic, partition
)
GROUP BY site, pipeline;
