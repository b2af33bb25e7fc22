package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// AuditReport is what the audit found: whether the tables prove that every record was counted exactly once.
type AuditReport struct {
	Pipeline   string           `json:"pipeline"`
	Database   string           `json:"database"`
	Table      string           `json:"table"`
	OK         bool             `json:"ok"` // no fault in any partition
	Partitions []PartitionAudit `json:"partitions"`
	Queries    []AuditQuery     `json:"queries"` // what was asked, to be asked again by hand
}

// PartitionAudit is the audit of one partition of one site.
type PartitionAudit struct {
	Site      string         `json:"site"`
	Topic     string         `json:"topic"`
	TopicID   string         `json:"topic_id"`
	Partition uint32         `json:"partition"`
	OK        bool           `json:"ok"`
	Start     int64          `json:"start"` // first offset accounted for
	End       int64          `json:"end"`   // offset after the last one accounted for
	RecordsIn int64          `json:"records_in"`
	Gap       int64          `json:"gap"` // offsets that were lost, and recorded as such
	Segments  []SegmentAudit `json:"segments"`
	Faults    []string       `json:"faults,omitempty"` // what does not add up
	Notes     []string       `json:"notes,omitempty"`  // what is worth knowing: gaps, rows on their way
}

// SegmentAudit is the audit of one segment. A verdict in capitals is a fault; AUDIT.md lists them.
type SegmentAudit struct {
	Revision   uint64 `json:"rev"`
	Segment    uint64 `json:"segment"`
	Start      int64  `json:"start"`
	Version    int64  `json:"version"`
	Gap        int64  `json:"gap"`
	GapReason  string `json:"gap_reason,omitempty"`
	Lost       int64  `json:"lost"`           // rows in windows that were not final when the segment before ended
	Gone       int64  `json:"gone,omitempty"` // rows in windows that are not final, of a topic whose name belongs to a newer topic ID
	RecordsIn  int64  `json:"records_in"`
	Expanded   int64  `json:"expanded"`
	Aggregated int64  `json:"aggregated"`
	Late       int64  `json:"late"`
	Filtered   int64  `json:"filtered"`
	Rejected   int64  `json:"rejected"`
	// Dropped is how many rows were in windows that the node dropped, and Spans which windows those were, and which were
	// merged into wider ones: start, end and width of each stretch in milliseconds, width 0 where they were dropped.
	Dropped      int64   `json:"dropped"`
	Open         int64   `json:"open"` // rows in windows that are shipped when they are final, and are not
	Spans        []int64 `json:"spans,omitempty"`
	Rows         int64   `json:"rows"` // rows in the stored windows
	LateLetters  int64   `json:"late_letters"`
	OtherLetters int64   `json:"other_letters"`
	// PurgedLetters of both were deleted on purpose; what tells them apart is still there and counted.
	PurgedLetters int64 `json:"purged_letters"`

	Tiling       string `json:"tiling"`
	Withheld     string `json:"withheld"`
	Conservation string `json:"conservation"`
	Stored       string `json:"stored"`
	Letters      string `json:"letters"`
	Account      string `json:"account"`
	Content      string `json:"content"`
}

// auditTries is how often an audit is made again when something does not add up, and auditPause how long it waits in
// between. A pipeline that runs stores rows and their account one after the other, and the audit may come in between.
const (
	auditTries = 3
	auditPause = 300 * time.Millisecond
)

// Audit proves from the tables, for every site, that the pipeline's totals are exact: that the segments of every
// partition tile its offsets, that every record is in exactly one counter, that the stored rows and dead letters are
// those counted. It reads the whole table. Errors are about asking; what does not add up is in the report.
func (s *Sink) Audit(ctx context.Context) (*AuditReport, error) {
	for try := 1; ; try++ {
		report, settled, err := s.auditOnce(ctx)
		if err != nil {
			return nil, s.explain(ctx, err)
		}
		if settled || try == auditTries {
			return report, nil
		}
		select {
		case <-ctx.Done():
			return report, nil
		case <-time.After(auditPause):
		}
	}
}

// partitionKey is a partition's identity within a pipeline.
type partitionKey struct {
	site, topic, topicID string
	partition            uint32
}

// audit gathers the answers of the queries.
type audit struct {
	partitions map[partitionKey]*PartitionAudit
	order      []partitionKey
	settled    bool // nothing is on its way, and nothing is wrong
	expires    bool // the table drops old windows
	lettersTTL bool
}

// auditOnce asks once. settled is false when asking again may give another answer.
func (s *Sink) auditOnce(ctx context.Context) (_ *AuditReport, settled bool, err error) {
	queries := s.layout.auditQueries(s.table.Pipeline)
	a := &audit{partitions: map[partitionKey]*PartitionAudit{}, settled: true}
	server, err := s.find(ctx, "audit: look at the tables")
	if err != nil {
		return nil, false, err
	}
	a.expires = expires(server[s.layout.partials().name])
	a.lettersTTL = expires(server[deadLetterTable])
	for i, read := range []func(driver.Rows) error{a.tiling, a.accounting, a.orphan, a.beyond} {
		if err := s.query(ctx, "audit: "+queries[i].Name, queries[i].SQL, read); err != nil {
			return nil, false, err
		}
	}
	report := &AuditReport{
		Pipeline: s.table.Pipeline, Database: s.cfg.Database, Table: s.cfg.Table, OK: true, Queries: queries,
		Partitions: make([]PartitionAudit, 0, len(a.order)),
	}
	for _, k := range a.order {
		p := a.partitions[k]
		p.OK = len(p.Faults) == 0
		report.OK = report.OK && p.OK
		report.Partitions = append(report.Partitions, *p)
	}
	return report, a.settled && report.OK, nil
}

func expires(f *found) bool { return f != nil && strings.Contains(f.engineFull, " TTL ") }

func (a *audit) partition(k partitionKey) *PartitionAudit {
	p := a.partitions[k]
	if p == nil {
		p = &PartitionAudit{Site: k.site, Topic: k.topic, TopicID: k.topicID, Partition: k.partition}
		a.partitions[k] = p
		a.order = append(a.order, k)
	}
	return p
}

// tiling reads a row of the first query: a segment and how it follows the one before.
func (a *audit) tiling(rows driver.Rows) error {
	var k partitionKey
	var g SegmentAudit
	var open int64 // rows of the segment before
	var newest string
	var heard time.Time
	if err := rows.Scan(&k.site, &k.topic, &k.topicID, &k.partition, &g.Revision, &g.Segment, &g.Start, &g.Version,
		&g.Gap, &g.GapReason, &g.Lost, &g.Tiling, &g.Withheld, &open, &g.Gone, &newest, &heard); err != nil {
		return err
	}
	p := a.partition(k)
	if len(p.Segments) == 0 {
		p.Start = g.Start
	}
	switch g.Tiling {
	case "GAP":
		p.fault(&g, "begins at %d and the one before ends at %d: what is between is not accounted for", g.Start, p.End)
	case "OVERLAP":
		p.fault(&g, "begins at %d and the one before ends at %d: what is between may be counted twice", g.Start, p.End)
	case "gap":
		p.note(&g, "offsets %d to %d are lost: %s", p.End, g.Start-1, g.GapReason)
	case "first":
		if g.Gap > 0 {
			p.note(&g, "offsets %d to %d are lost: %s", g.Start-g.Gap, g.Start-1, g.GapReason)
		}
	case "overlap":
		p.note(&g, "begins at %d and the one before ends at %d: %s", g.Start, p.End, g.GapReason)
	}
	switch g.Withheld {
	case "UNTOLD":
		p.fault(&g, "%d rows were in windows that were not final when the segment before ended, and it tells of %d", open, g.Lost)
	case "lost":
		p.note(&g, "%d rows of the segment before, in windows that were not final when it ended, are lost: %s", g.Lost, g.GapReason)
	}
	if g.Gone > 0 {
		p.note(&g, "%d rows are in windows that are not final, and the newest account of a topic %s is of another topic ID, %s; this one was last heard of at %s."+
			" If the topic was deleted and made again, these rows are lost and this time stays as it is."+
			" If it moves on, two Kafka clusters have a topic of that name and ship it as one site, %s: the rows are open and nothing is lost, but run each cluster's nodes with a site of their own",
			g.Gone, k.topic, newest, heard.UTC().Format(time.RFC3339), k.site)
	}
	p.End = g.Version
	p.Gap += g.Gap
	p.Segments = append(p.Segments, g)
	return nil
}

// accounting reads a row of the second query: a segment's counters and what is stored of it.
func (a *audit) accounting(rows driver.Rows) error {
	var k partitionKey
	var g SegmentAudit
	if err := rows.Scan(&k.site, &k.topic, &k.topicID, &k.partition, &g.Revision, &g.Segment,
		&g.RecordsIn, &g.Expanded, &g.Aggregated, &g.Late, &g.Filtered, &g.Rejected, &g.Dropped, &g.Spans, &g.Open,
		&g.Rows, &g.LateLetters, &g.OtherLetters, &g.PurgedLetters, &g.Conservation, &g.Stored, &g.Letters, &g.Account, &g.Content); err != nil {
		return err
	}
	p := a.partition(k)
	p.RecordsIn += g.RecordsIn
	if g.Conservation != "ok" {
		p.fault(&g, "%d records and %d rows more, but %d aggregated, %d open, %d late, %d filtered, %d rejected, %d dropped",
			g.RecordsIn, g.Expanded, g.Aggregated, g.Open, g.Late, g.Filtered, g.Rejected, g.Dropped)
	}
	a.spans(p, &g)
	switch {
	case g.Stored == "ahead":
		a.settled = false
		p.note(&g, "rows are stored beyond its account: they are on their way, or the node ended in between")
	case g.Stored == "MISSING" && a.expires:
		g.Stored = "expired"
		p.note(&g, "%d of %d rows are stored; the table drops old windows, so what is missing may have expired", g.Rows, g.Aggregated)
	case g.Stored != "ok":
		p.fault(&g, "%d rows were aggregated and %d are stored", g.Aggregated, g.Rows)
	}
	switch {
	case g.Letters == "ahead":
		a.settled = false
		p.note(&g, "dead letters are stored beyond its account")
	case g.Letters == "MISSING" && a.lettersTTL:
		g.Letters = "expired"
		p.note(&g, "%d of %d dead letters are stored; the table drops old ones", g.OtherLetters, g.Rejected)
	case g.Letters != "ok":
		p.fault(&g, "%d rejected and %d late, but %d and %d dead letters", g.Rejected, g.Late, g.OtherLetters, g.LateLetters)
	}
	if g.PurgedLetters > 0 {
		p.note(&g, "%d of its dead letters were purged", g.PurgedLetters)
	}
	if g.Account != "ok" {
		p.fault(&g, "the account was changed by hand: its hash does not fit")
	}
	switch {
	case g.Content == "ahead" || g.Content == "ok":
	case g.Content == "no hash":
		p.note(&g, "no hash of its rows is known: an older version of weir had it, too")
	case g.Content == "other columns":
		p.note(&g, "its rows have columns that the pipeline has no more: audit it with the pipeline file of that revision to prove its values")
	case g.Stored == "expired":
		g.Content = "expired"
	case g.Stored != "ok" && g.Stored != "ahead": // the fault is told: not all rows are there
	default:
		p.fault(&g, "values of stored rows are not those that were shipped: the rows do not have the hash of the account")
	}
	for i := range p.Segments {
		t := &p.Segments[i]
		if t.Revision == g.Revision && t.Segment == g.Segment {
			g.Start, g.Version, g.Gap, g.GapReason, g.Lost, g.Gone, g.Tiling, g.Withheld = t.Start, t.Version, t.Gap, t.GapReason, t.Lost, t.Gone, t.Tiling, t.Withheld
			*t = g
			return nil
		}
	}
	a.settled = false // a segment that began between the queries
	return nil
}

// spans notes which windows a node that was cut off for too long did not keep as they were.
func (a *audit) spans(p *PartitionAudit, g *SegmentAudit) {
	spans, err := sink.FlatSpans(g.Spans)
	if err != nil {
		p.fault(g, "the account's spans are no spans: %v", g.Spans)
		return
	}
	lost := false
	for _, s := range spans {
		from, to := time.UnixMilli(s.From).UTC().Format(time.RFC3339), time.UnixMilli(s.To).UTC().Format(time.RFC3339)
		if s.Dropped() {
			lost = true
			p.note(g, "windows from %s to %s were dropped: the node had no room for them", from, to)
		} else {
			p.note(g, "windows from %s to %s were merged into windows of %s: the node had no room for them", from, to, time.Duration(s.Width)*time.Millisecond)
		}
	}
	if lost != (g.Dropped != 0) {
		p.fault(g, "%d rows were dropped, and the account says of which windows: %v", g.Dropped, lost)
	}
}

// orphan reads a row of the third query: a segment that has rows and no account.
func (a *audit) orphan(rows driver.Rows) error {
	var k partitionKey
	var g SegmentAudit
	if err := rows.Scan(&k.site, &k.topic, &k.topicID, &k.partition, &g.Revision, &g.Segment, &g.Rows); err != nil {
		return err
	}
	a.partition(k).fault(&g, "%d rows are stored and there is no account of them", g.Rows)
	return nil
}

// beyond reads a row of the fourth query: a segment whose rows reach into the next.
func (a *audit) beyond(rows driver.Rows) error {
	var k partitionKey
	var g SegmentAudit
	var next, end int64
	if err := rows.Scan(&k.site, &k.topic, &k.topicID, &k.partition, &g.Revision, &g.Segment, &next, &end); err != nil {
		return err
	}
	a.partition(k).fault(&g, "its rows reach to %d and the next segment begins at %d: offsets %d to %d may be counted twice, by a process that did not know that it had lost the partition", end, next, next, end-1)
	return nil
}

func (p *PartitionAudit) fault(g *SegmentAudit, format string, args ...any) {
	p.Faults = append(p.Faults, segmentName(g)+fmt.Sprintf(format, args...))
}

func (p *PartitionAudit) note(g *SegmentAudit, format string, args ...any) {
	p.Notes = append(p.Notes, segmentName(g)+fmt.Sprintf(format, args...))
}

func segmentName(g *SegmentAudit) string {
	return fmt.Sprintf("segment %d of revision %016x: ", g.Segment, g.Revision)
}
