package clickhouse

import (
	"strings"

	"github.com/weir-stream/weir/sink"
)

// AuditQuery is one question of the audit, for people to ask themselves.
type AuditQuery struct {
	Name string `json:"name"`
	What string `json:"what"` // what it proves
	// Fault is how a fault shows in the answer, for people.
	Fault string `json:"fault"`
	SQL   string `json:"sql"`
}

// AuditSQL lists the statements that Audit asks, for people to ask by hand.
func AuditSQL(cfg Config, table sink.Table) ([]AuditQuery, error) {
	cfg, _, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if err := checkTable(&table); err != nil {
		return nil, err
	}
	return newLayout(cfg, &table).auditQueries(table.Pipeline), nil
}

// verdictsFault is how faults show in the answers that have verdicts.
const verdictsFault = "a row per segment; a verdict in capitals is a fault"

// source are the columns that tell segments apart.
const sourceColumns = "site, topic, topic_id, partition, rev, segment"

// auditQueries are the statements that prove a pipeline's totals, each with a verdict per row: a verdict in capitals is
// a fault. AUDIT.md explains them.
func (l *layout) auditQueries(pipeline string) []AuditQuery {
	db := l.database
	r := strings.NewReplacer(
		"{coverage}", qualified(db, coverageTable),
		"{partials}", qualified(db, l.partials().name),
		"{letters}", qualified(db, deadLetterTable),
		"{marks}", qualified(db, letterMarkTable),
		"{pipeline}", quote(pipeline),
		"{source}", sourceColumns,
		"{hash}", coverageHashSQL(),
		"{row_hash}", rowHashSQL(l.schema, "content_columns"),
		"{content_known}", contentKnownSQL(l.schema, "content_columns"),
		"{ended}", endedSQL(db, pipeline),
		"{counted}", l.counting,
		"{is_final}", l.isFinal,
		"{final_changed}", l.changed,
	)
	return []AuditQuery{
		{
			Name:  "tiling",
			What:  "the segments of each partition follow each other without a hole or an overlap that is not recorded",
			Fault: verdictsFault, SQL: r.Replace(tilingSQL),
		},
		{
			Name:  "accounting",
			What:  "every record is counted in one place; the rows stored are those counted, and their values those shipped; every dead letter is there; no account was changed",
			Fault: verdictsFault, SQL: r.Replace(accountingSQL),
		},
		{
			Name:  "orphans",
			What:  "no rows are stored for a segment that has no account",
			Fault: "every row is a fault", SQL: r.Replace(orphansSQL),
		},
		{
			Name:  "beyond",
			What:  "no rows of a segment reach behind the beginning of the next, where they would count twice",
			Fault: "every row is a fault", SQL: r.Replace(beyondSQL),
		},
	}
}

const tilingSQL = `SELECT
    site, topic, toString(topic_id) AS topic_uuid, partition, rev, segment, start_offset, toInt64(version) AS version, gap, gap_reason, lost_rows,
    multiIf(
        position_in_partition = 1, 'first',
        start_offset = previous_version, 'ok',
        start_offset > previous_version AND start_offset - previous_version <= gap, 'gap',
        start_offset < previous_version AND gap_reason != '', 'overlap',
        start_offset > previous_version, 'GAP',
        'OVERLAP') AS verdict,
    multiIf(lost_rows != previous_open, 'UNTOLD', lost_rows > 0, 'lost', 'ok') AS withheld, previous_open,
    if(position_in_partition = segments AND topic_id != topic_now, open_rows, 0) AS gone_rows, toString(topic_now) AS newest_topic_uuid, received_at
FROM
(
    SELECT
        *,
        row_number() OVER w AS position_in_partition,
        lagInFrame(toInt64(version)) OVER w AS previous_version,
        lagInFrame(open_rows) OVER w AS previous_open,
        count() OVER (PARTITION BY site, topic, topic_id, partition) AS segments,
        argMax(topic_id, received_at) OVER (PARTITION BY site, topic) AS topic_now
    FROM (SELECT *, received_at FROM {coverage} FINAL WHERE pipeline = {pipeline})
    WINDOW w AS (PARTITION BY site, topic, topic_id, partition ORDER BY segment, start_offset ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
ORDER BY site, topic, topic_uuid, partition, segment, start_offset`

// accountingSQL joins every row with its account, for the columns that were hashed and the windows that are final: by one number,
// because that is cheaper than by six columns, and each row has at most one account by it but for one case in 2^64.
const accountingSQL = `SELECT
    site, topic, toString(topic_id) AS topic_uuid, partition, rev, segment,
    records_in, expanded, aggregated, late, filtered, rejected, dropped, spans, open_rows,
    toInt64(stored_rows) AS rows, toInt64(late_letters) AS late_letters, toInt64(other_letters) AS other_letters, toInt64(purged_letters) AS purged_letters,
    if(records_in + expanded = aggregated + open_rows + late + filtered + rejected + dropped, 'ok', 'UNBALANCED') AS conservation,
    multiIf(rows_version > version, 'ahead', stored_rows = aggregated, 'ok', stored_rows < aggregated, 'MISSING', 'TOO MANY') AS stored,
    multiIf(
        last_letter >= toInt64(version) AND late_letters + other_letters > 0, 'ahead',
        other_letters = rejected AND (late_letters = late OR late_letters = 0), 'ok',
        other_letters < rejected OR late_letters < late, 'MISSING',
        'TOO MANY') AS letters,
    if(hash = {hash}, 'ok', 'CHANGED') AS account,
    multiIf(
        content_columns = '', 'no hash',
        NOT {content_known}, 'other columns',
        {final_changed}, 'CHANGED',
        rows_version > version, 'ahead',
        all_hash != content_all, 'CHANGED',
        'ok') AS content
FROM (SELECT * FROM {coverage} FINAL WHERE pipeline = {pipeline}) AS c
LEFT JOIN
(
    SELECT
        _site AS site, _topic AS topic, _topic_id AS topic_id, _partition AS partition, _rev AS rev, _segment AS segment,
        sum(_rows) AS stored_rows, max(_version) AS rows_version, sum(row_hash) AS all_hash, sumIf(row_hash, is_final) AS final_hash
    FROM
    (
        SELECT
            r.*,
            {row_hash} AS row_hash,
            {is_final} AS is_final
        FROM (SELECT * FROM {partials} FINAL WHERE _pipeline = {pipeline} AND {counted}) AS r
        LEFT JOIN (SELECT {source}, final_us, content_columns FROM {coverage} FINAL WHERE pipeline = {pipeline}) AS k
            ON cityHash64(r._site, r._topic, r._topic_id, r._partition, r._rev, r._segment)
                = cityHash64(k.site, k.topic, k.topic_id, k.partition, k.rev, k.segment)
    )
    GROUP BY _site, _topic, _topic_id, _partition, _rev, _segment
) AS p USING ({source})
LEFT JOIN
(
    SELECT
        {source},
        countIf(why = 'late') AS late_letters, countIf(why != 'late') AS other_letters, countIf(purged) AS purged_letters,
        max(record_offset) AS last_letter
    FROM
    (
        SELECT {source}, record_offset, step, row_index, any(reason) AS why, max(mark) AS purged
        FROM
        (
            SELECT {source}, record_offset, step, row_index, reason, 0 AS mark FROM {letters} FINAL WHERE pipeline = {pipeline}
            UNION ALL
            SELECT {source}, record_offset, step, row_index, reason, 1 FROM {marks} FINAL WHERE pipeline = {pipeline} AND mark = 'purged'
        )
        GROUP BY {source}, record_offset, step, row_index
    ) AS l
    LEFT JOIN
    (
        {ended}
    ) AS e USING ({source})
    WHERE has_next = 0 OR record_offset < letters_end
    GROUP BY {source}
) AS d USING ({source})
ORDER BY site, topic, topic_uuid, partition, segment, rev`

// endedSQL lists the segments that others came behind, with the offset that their dead letters end at: one of a record that the next
// segment accounts for does not count. A node stored it that died before the account, and the record was read again in the next.
func endedSQL(database, pipeline string) string {
	return strings.NewReplacer("{source}", sourceColumns, "{coverage}", qualified(database, coverageTable), "{pipeline}", quote(pipeline)).
		Replace(`SELECT {source}, greatest(toInt64(version), next_start) AS letters_end, has_next
        FROM
        (
            SELECT
                {source}, version,
                leadInFrame(start_offset) OVER w AS next_start,
                leadInFrame(toUInt8(1)) OVER w AS has_next
            FROM (SELECT * FROM {coverage} FINAL WHERE pipeline = {pipeline})
            WINDOW w AS (PARTITION BY site, topic, topic_id, partition ORDER BY segment, start_offset ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        WHERE has_next = 1`)
}

const orphansSQL = `SELECT site, topic, toString(topic_id) AS topic_uuid, partition, rev, segment, toInt64(stored_rows) AS rows
FROM
(
    SELECT
        _site AS site, _topic AS topic, _topic_id AS topic_id, _partition AS partition, _rev AS rev, _segment AS segment,
        sum(_rows) AS stored_rows
    FROM {partials} FINAL
    WHERE _pipeline = {pipeline}
    GROUP BY _site, _topic, _topic_id, _partition, _rev, _segment
) AS p
LEFT ANTI JOIN (SELECT {source} FROM {coverage} FINAL WHERE pipeline = {pipeline}) AS c USING ({source})
ORDER BY site, topic, topic_uuid, partition, segment, rev`

// A log that was cut back is no fault: there the account of the segment reaches as far as its rows. Neither is an account with open rows:
// what is stored behind it of windows that are not final by it does not count, and the others take no more records.
const beyondSQL = `SELECT
    site, topic, toString(topic_id) AS topic_uuid, partition, rev, segment, next_start, toInt64(rows_version) AS rows_end
FROM
(
    SELECT
        {source}, version, open_rows,
        leadInFrame(start_offset) OVER w AS next_start,
        leadInFrame(toUInt8(1)) OVER w AS has_next
    FROM (SELECT * FROM {coverage} FINAL WHERE pipeline = {pipeline})
    WINDOW w AS (PARTITION BY site, topic, topic_id, partition ORDER BY segment, start_offset ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
) AS c
INNER JOIN
(
    SELECT
        _site AS site, _topic AS topic, _topic_id AS topic_id, _partition AS partition, _rev AS rev, _segment AS segment,
        max(_version) AS rows_version
    FROM {partials}
    WHERE _pipeline = {pipeline}
    GROUP BY _site, _topic, _topic_id, _partition, _rev, _segment
) AS p USING ({source})
WHERE has_next = 1 AND open_rows = 0 AND rows_version > version AND toInt64(rows_version) > next_start
ORDER BY site, topic, topic_uuid, partition, segment, rev`
