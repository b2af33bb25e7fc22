package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

const (
	// rowsVersionSegments is for how many of the newest segments of a partition Coverage looks at the rows themselves. Older ones are
	// closed: nothing continues them.
	rowsVersionSegments = 3
	// coverageAtOnce is about how many partitions one statement asks. It keeps statements well below the 256 KiB that a server reads
	// (max_query_size) with topics of the longest names, 249 bytes.
	coverageAtOnce = 128
)

// Coverage reads what is stored of partitions; see sink.Sink. RowsVersion is looked up for the three newest segments of each;
// for older ones it is their Version. It sends two statements, for 128 partitions at a time.
func (s *Sink) Coverage(ctx context.Context, ps []batch.Partition) ([][]sink.Coverage, error) {
	all := make([][]sink.Coverage, len(ps))
	for from := 0; from < len(ps); from += coverageAtOnce {
		to := min(from+coverageAtOnce, len(ps))
		if err := s.readCoverage(ctx, ps[from:to], all[from:to]); err != nil {
			return nil, s.explain(ctx, err)
		}
	}
	return all, nil
}

// partitionOf is a partition as a server names it.
func partitionOf(topic string, id uuid.UUID, partition uint32) batch.Partition {
	return batch.Partition{Topic: topic, TopicID: id, ID: int32(partition)}
}

// readCoverage fills all, which is as long as ps, of few partitions.
func (s *Sink) readCoverage(ctx context.Context, ps []batch.Partition, all [][]sink.Coverage) error {
	op := fmt.Sprintf("read the coverage of %s", ps[0])
	if len(ps) > 1 {
		op += fmt.Sprintf(" and %d other partitions", len(ps)-1)
	}
	at := map[batch.Partition]int{} // in ps
	for i, p := range ps {
		at[p] = i
	}
	sql := fmt.Sprintf(`SELECT topic, topic_id, partition, rev, segment, start_offset, version, watermark_us, final_us,
    records_in, expanded, aggregated, late, filtered, rejected, gap, gap_reason,
    content_columns, content_final, content_all, dropped, spans, open_rows, lost_rows, leader_epoch
FROM %s FINAL
WHERE site = %s AND pipeline = %s AND (%s)
ORDER BY segment DESC, version DESC, rev`,
		qualified(s.cfg.Database, coverageTable), quote(s.table.Site), quote(s.table.Pipeline), sources(ps))
	err := s.query(ctx, op, sql, func(rows driver.Rows) error {
		var topic string
		var id uuid.UUID
		var partition uint32
		c, version := sink.Coverage{}, uint64(0)
		n, columns, spans, epoch := &c.Counters, "", []int64(nil), (*int32)(nil)
		err := rows.Scan(&topic, &id, &partition, &c.Revision, &c.Segment, &c.Start, &version, &c.Watermark, &c.Final,
			&n.RecordsIn, &n.Expanded, &n.Aggregated, &n.Late, &n.Filtered, &n.Rejected, &c.Gap, &c.GapReason,
			&columns, &c.Content.Final, &c.Content.All, &n.Dropped, &spans, &n.Open, &c.Lost, &epoch)
		if err == nil {
			c.Spans, err = sink.FlatSpans(spans)
		}
		if err != nil {
			return err
		}
		i, asked := at[partitionOf(topic, id, partition)]
		if !asked {
			return fmt.Errorf("the server answers with %s/%d, which it was not asked for", topic, partition)
		}
		c.Partition = ps[i]
		if epoch != nil {
			c.Epoch = *epoch + 1
		}
		// Of other columns than are shipped now, the hashes say nothing to whoever goes on with the segment.
		c.Content.Known = columns == contentColumns(s.schema)
		c.Version = int64(version)
		c.RowsVersion = c.Version
		all[i] = append(all[i], c)
		return nil
	})
	if err != nil {
		return err
	}
	var newest []*sink.Coverage
	for _, cs := range all {
		for i := range cs[:min(len(cs), rowsVersionSegments)] {
			newest = append(newest, &cs[i])
		}
	}
	return s.rowsVersions(ctx, op, newest)
}

// sources is a condition on columns topic, topic_id and partition: those of some partitions.
func sources(ps []batch.Partition) string {
	var terms []string
	at := map[batch.Partition]int{} // in terms, by topic
	for _, p := range ps {
		topic := batch.Partition{Topic: p.Topic, TopicID: p.TopicID}
		i, there := at[topic]
		if !there {
			at[topic] = len(terms)
			terms = append(terms, fmt.Sprintf("topic = %s AND topic_id = %s AND partition IN (%d", quote(p.Topic), quote(uuid.UUID(p.TopicID).String()), p.ID))
			continue
		}
		terms[i] += ", " + strconv.FormatInt(int64(p.ID), 10)
	}
	return strings.Join(terms, ") OR ") + ")"
}

// rowsVersions fills RowsVersion. Rows beyond the coverage are of windows that were not final then, so the primary
// index of the table, which begins with window_start, bounds what is read, for each segment by itself.
func (s *Sink) rowsVersions(ctx context.Context, op string, cs []*sink.Coverage) error {
	if len(cs) == 0 {
		return nil
	}
	type segment struct {
		of       batch.Partition
		rev, seg uint64
	}
	at := map[segment]*sink.Coverage{}
	terms := make([]string, len(cs))
	for i, c := range cs {
		at[segment{c.Partition, c.Revision, c.Segment}] = c
		terms[i] = fmt.Sprintf("_rev = %d AND _topic = %s AND _topic_id = %s AND _partition = %d AND _segment = %d",
			c.Revision, quote(c.Partition.Topic), quote(uuid.UUID(c.Partition.TopicID).String()), c.Partition.ID, c.Segment)
		if us := c.Final; us >= minCompleteMicros && us < maxTime.UnixMicro() && s.table.Window > 0 {
			from := inTime(us, batch.Microsecond).Add(-s.table.Window)
			terms[i] += fmt.Sprintf(" AND window_start >= fromUnixTimestamp64Milli(%d, 'UTC')", from.UnixMilli()-1)
		}
	}
	sql := fmt.Sprintf(`SELECT _topic, _topic_id, _partition, _rev, _segment, max(_version) FROM %s
WHERE _site = %s AND _pipeline = %s AND (
    %s)
GROUP BY _topic, _topic_id, _partition, _rev, _segment`,
		qualified(s.cfg.Database, s.layout.partials().name), quote(s.table.Site), quote(s.table.Pipeline), strings.Join(terms, "\n    OR "))
	return s.query(ctx, op, sql, func(rows driver.Rows) error {
		var topic string
		var id uuid.UUID
		var partition uint32
		var rev, seg, version uint64
		if err := rows.Scan(&topic, &id, &partition, &rev, &seg, &version); err != nil {
			return err
		}
		if c := at[segment{partitionOf(topic, id, partition), rev, seg}]; c != nil {
			c.RowsVersion = max(c.RowsVersion, int64(version))
		}
		return nil
	})
}
