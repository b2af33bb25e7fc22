package clickhouse

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/sink"
)

// stretchColumn is a column of the view: the stretch of time that a session is in. It is a function of the start of every row that the
// session is made of, and one that a server knows to grow: so a reader who asks for some stretches reads no others.
const stretchColumn = "_stretch"

// sessionsGrouped is newestGrouped for sessions: those of a key that meet in time, which are of several sources, are one. outer and inner
// begin with the window, and inner goes on with the keys. Only sessions of one stretch can meet, see sink.Table.
//
// A session that begins where none of those before it has an end behind begins an island, and so islands are counted. Before the first
// there is no end, and whatever that compares to, the first has a number of its own or none.
func sessionsGrouped(outer, inner []string, table, where string, t *sink.Table) string {
	from, back := "window_start", ""
	if t.Offset > 0 {
		shift := fmt.Sprintf("toIntervalMillisecond(%d)", t.Offset.Milliseconds())
		from, back = from+" - "+shift, " + "+shift
	}
	stretch := fmt.Sprintf("toStartOfInterval(%s, toIntervalMillisecond(%d))%s", from, t.Window.Milliseconds(), back)
	keys := append([]string{}, inner[2:2+len(t.Keys)]...)
	by := strings.Join(append(keys, stretchColumn), ", ")
	outer, inner = append(outer, stretchColumn), append(inner, stretchColumn)
	first := append([]string{"min(p.window_start) AS window_start", "max(p.window_end) AS window_end"}, inner[2:]...)
	return fmt.Sprintf(`SELECT
    %[1]s
FROM
(
    SELECT
        %[2]s
    FROM
    (
        SELECT
            *,
            sum(_begins) OVER (PARTITION BY %[3]s ORDER BY window_start, window_end ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _island
        FROM
        (
            SELECT
                *,
                %[4]s AS %[7]s,
                window_start >= max(window_end) OVER (PARTITION BY %[3]s ORDER BY window_start, window_end ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _begins
            FROM %[5]s FINAL
            WHERE %[6]s
        )
    ) AS p
    GROUP BY %[3]s, _island
)
SETTINGS do_not_merge_across_partitions_select_final = 1`,
		strings.Join(outer, ",\n    "), strings.Join(first, ",\n        "), by, stretch, table, where, stretchColumn)
}

// sessionsCounting is the condition that chooses the rows of sessions that count among the newest. Where sessions are stored when they are
// final, a row that was final when it was stored counts by the account, as those of other windows do: where a node died before it stored
// its account and the log lost records since, nobody may come to store that, and the next segment counts the records behind the one there is.
func sessionsCounting(database string, t *sink.Table) string {
	where := sessionsStand(database, t) + "\n        AND " + counted(database)
	if t.Final {
		where += "\n        AND " + finished(database)
	}
	return where
}

// sessionsStand leaves out the rows that take back another. Where sessions are stored when they are final, one that was not, because its
// lane ended in order, counts as long as nobody has gone on: while the account of its segment is of its version, and has no open rows.
func sessionsStand(database string, t *sink.Table) string {
	const where = "_rows > 0"
	if !t.Final {
		return where
	}
	return where + fmt.Sprintf(`
        AND (NOT _open OR (_site, _pipeline, _rev, _topic_id, _partition, _segment, _version) IN (
            SELECT site, pipeline, rev, topic_id, partition, segment, version FROM %s FINAL WHERE open_rows = 0))`,
		qualified(database, coverageTable))
}
