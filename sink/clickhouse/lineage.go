package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// Lineage is what a finished row was made from. Times are UTC; everything about offsets is as sink.Coverage has it. LINEAGE.md
// says what the fields prove.
type Lineage struct {
	Pipeline string    `json:"pipeline"`
	View     string    `json:"view"`
	Start    time.Time `json:"window_start"`
	End      time.Time `json:"window_end"`
	Keys     Values    `json:"keys"`
	Answer   Values    `json:"answer"`
	Rows     int64     `json:"rows"` // that are in the answer, over all sources
	// Final is set where no source can change any more and none can be added: Waiting is empty.
	Final     bool             `json:"final"`
	Sources   []Source         `json:"sources"`
	Waiting   []Behind         `json:"waiting"` // partitions that have not come to the end of the window
	Dropped   []DroppedWindow  `json:"dropped"` // segments whose rows of the window a node dropped, because it had no room
	Revisions []SourceRevision `json:"revisions"`
}

// Values are columns and their values as JSON, in the order of the table.
type Values []Value

// Value is the value of a column as JSON.
type Value struct {
	Name string
	JSON json.RawMessage
}

// MarshalJSON writes an object.
func (v Values) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, c := range v {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(c.Name)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), c.JSON...)
	}
	return append(b, '}'), nil
}

// Source is a stored row behind a finished one: what one segment of one partition has in the window and key.
type Source struct {
	Site      string `json:"site"`
	Pipeline  string `json:"pipeline"`
	Revision  string `json:"rev"`
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id"`
	Partition uint32 `json:"partition"`
	Segment   uint64 `json:"segment"`
	// All rows that were counted into it are from records at offsets in [From, To): From is where the segment begins, To the version
	// of the row. Which of them is not stored.
	From int64 `json:"from"`
	To   int64 `json:"to"`
	Rows int64 `json:"rows"` // rows that were counted into it
	// State is "final" where the partition has passed the window, "closed" where another segment goes on so that this one takes no
	// more, "open" where it may still take rows, and "unaccounted" where rows are stored and the account of them is not.
	State    string    `json:"state"`
	Node     string    `json:"node"`      // that stored it
	StoredAt time.Time `json:"stored_at"` // by the clock of the server
	Shipped  string    `json:"shipped"`   // "live", or "backlog" where it waited on the disk of its node or was sent once more
	Merged   bool      `json:"merged"`    // the node merged windows into this one, because it had no room
	Values   Values    `json:"values"`    // states, as they are stored

	Account     *Account         `json:"account"`      // of the segment; null where there is none
	DeadLetters map[string]int64 `json:"dead_letters"` // of the segment, by reason, of records whose own timestamp is in the window
}

// Account is what is known of the segment of a source.
type Account struct {
	Start     int64      `json:"start"`
	Version   int64      `json:"version"`
	Watermark *time.Time `json:"watermark"` // event time up to which it is complete; null before the first row
	Final     *time.Time `json:"final"`     // windows that end by then take no more rows
	RecordsIn int64      `json:"records_in"`
	Expanded  int64      `json:"expanded"`
	Counted   int64      `json:"aggregated"`
	Late      int64      `json:"late"`
	Filtered  int64      `json:"filtered"`
	Rejected  int64      `json:"rejected"`
	Dropped   int64      `json:"dropped"` // rows in windows that the node dropped
	Open      int64      `json:"open"`    // rows in windows that are stored when they are final, and are not
	Gap       int64      `json:"gap"`     // offsets that were lost just before Start
	Lost      int64      `json:"lost"`    // rows of the segment before that were in windows which were not final when it ended
	GapReason string     `json:"gap_reason,omitempty"`
	Node      string     `json:"node"` // that wrote the account last
	Hashed    bool       `json:"hashed"`
}

// Behind is a partition that may still have rows for the window.
type Behind struct {
	Site      string     `json:"site"`
	Topic     string     `json:"topic"`
	Partition uint32     `json:"partition"`
	Final     *time.Time `json:"final"` // how far it is; null where it has had no row
}

// DroppedWindow is a segment that has nothing in the window because its node dropped it.
type DroppedWindow struct {
	Site      string    `json:"site"`
	Topic     string    `json:"topic"`
	Partition uint32    `json:"partition"`
	Segment   uint64    `json:"segment"`
	From      time.Time `json:"from"` // the windows that begin from here on and before To
	To        time.Time `json:"to"`
}

// SourceRevision is a revision that sources are of.
type SourceRevision struct {
	Revision   string          `json:"rev"`
	Site       string          `json:"site"`
	SpecDigest string          `json:"spec_sha256"`
	Spec       json.RawMessage `json:"spec"` // null where nothing is known of the revision
	Operators  []sink.Operator `json:"operators"`
	Nodes      []RevisionNode  `json:"nodes"`
}

// RevisionNode is a node that ran a revision.
type RevisionNode struct {
	Node      string    `json:"node"`
	Weir      string    `json:"weir"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

// RowAddress names a finished row: a moment within its window, and values of keys as text; nil is null. Keys that are left out may
// be anything.
type RowAddress struct {
	At   time.Time
	Keys map[string]*string
}

// ErrNoRow says that there is no such row.
var ErrNoRow = errors.New("there is no such row")

// ManyRows says that an address fits several rows.
type ManyRows struct {
	Keys []Values // window_start and keys of some of them
	More bool
}

// Error implements error.
func (e *ManyRows) Error() string { return "several rows fit" }

// manyRows is how many of several rows are named.
const manyRows = 10

// jsonSettings make toJSONString give what JSON has: numbers as numbers, and what is none as text.
const jsonSettings = "output_format_json_quote_64bit_integers = 0, output_format_json_quote_denormals = 1"

// Lineage finds out what a finished row was made from. The errors ErrNoRow and *ManyRows are about the address.
func (s *Sink) Lineage(ctx context.Context, at RowAddress) (*Lineage, error) {
	l, err := s.lineage(ctx, at)
	var many *ManyRows
	if err != nil && !errors.Is(err, ErrNoRow) && !errors.As(err, &many) {
		return nil, s.explain(ctx, err)
	}
	return l, err
}

func (s *Sink) lineage(ctx context.Context, at RowAddress) (*Lineage, error) {
	l := &Lineage{Pipeline: s.table.Pipeline, View: s.cfg.Table, Sources: []Source{}, Waiting: []Behind{}, Dropped: []DroppedWindow{}, Revisions: []SourceRevision{}}
	if err := s.finishedRow(ctx, l, at); err != nil {
		return nil, err
	}
	if err := s.sources(ctx, l, at); err != nil {
		return nil, err
	}
	if err := s.accounts(ctx, l); err != nil {
		return nil, err
	}
	if err := s.lettersOf(ctx, l); err != nil {
		return nil, err
	}
	return l, s.revisionsOf(ctx, l)
}

// windowsSQL is the condition that chooses the windows a moment is in. It bounds window_start on both sides, for the index: windows
// that others were merged into are as wide as their column _width can say.
func (s *Sink) windowsSQL(at time.Time) string {
	ms := at.UnixMilli()
	lowest := max(minTime.UnixMilli(), ms-max(s.table.Window.Milliseconds(), math.MaxUint32))
	return fmt.Sprintf("window_start >= fromUnixTimestamp64Milli(%d, 'UTC') AND window_start <= fromUnixTimestamp64Milli(%d, 'UTC')"+
		" AND window_end > fromUnixTimestamp64Milli(%[2]d, 'UTC')", lowest, ms)
}

// keysSQL is the condition that chooses the keys, to be put behind another one.
func (s *Sink) keysSQL(at RowAddress) string {
	text := ""
	for _, k := range s.table.Keys {
		if v, chosen := at.Keys[k.Name]; chosen {
			text += " AND " + keySQL(k, v)
		}
	}
	return text
}

func keySQL(f batch.Field, v *string) string {
	switch {
	case v == nil:
		return fmt.Sprintf("isNull(%s)", ident(f.Name))
	case f.Type.Kind == batch.String, f.Type.Kind == batch.Binary:
		return fmt.Sprintf("%s = %s", ident(f.Name), quote(*v))
	case f.Type.Kind == batch.Timestamp:
		return fmt.Sprintf("%s = parseDateTime64BestEffort(%s, 9, 'UTC')", ident(f.Name), quote(*v))
	}
	return fmt.Sprintf("%s = CAST(%s, %s)", ident(f.Name), quote(*v), quote(baseType(f.Type)))
}

// valueSQL is a value as JSON; of bytes that are no text only how many.
func valueSQL(name string, opaque bool) string {
	if opaque {
		return fmt.Sprintf("toJSONString(concat(toString(length(%[1]s)), ' bytes'))", ident(name))
	}
	return fmt.Sprintf("ifNull(toJSONString(%s), 'null')", ident(name))
}

// finishedRow reads the row of the view. Where windows overlap, the one that begins at the moment is meant.
func (s *Sink) finishedRow(ctx context.Context, l *Lineage, at RowAddress) error {
	if at.At.Before(minTime) || at.At.After(maxTime) {
		return ErrNoRow
	}
	view := &s.layout.views[0]
	states := map[string]bool{}
	for _, a := range s.table.Aggregates {
		states[statesColumn(a.Name)] = a.Finish == sink.FinishNone
	}
	var columns []string
	shown := slices.DeleteFunc(slices.Clone(view.columns), func(c columnDef) bool { return c.name == stretchColumn })
	for _, c := range shown[2:] {
		if states[c.name] {
			columns = append(columns, fmt.Sprintf("toJSONString(concat(toString(length(%s)), ' states'))", ident(c.name)))
			continue
		}
		columns = append(columns, valueSQL(c.name, false))
	}
	order := []string{"window_start DESC", "window_end"}
	for _, k := range s.table.Keys {
		order = append(order, ident(k.Name))
	}
	sql := fmt.Sprintf("SELECT window_start, window_end, [%s]\nFROM %s\nWHERE %s%s\nORDER BY %s\nLIMIT %d\nSETTINGS %s",
		strings.Join(columns, ", "), qualified(s.cfg.Database, view.name), s.windowsSQL(at.At), s.keysSQL(at), strings.Join(order, ", "), manyRows+1, jsonSettings)
	var many ManyRows
	exact := 0
	err := s.query(ctx, "look for the row in "+view.name, sql, func(rows driver.Rows) error {
		var texts []string
		var start, end time.Time
		if err := rows.Scan(&start, &end, &texts); err != nil {
			return err
		}
		if len(texts) != len(columns) {
			return errors.New("the view has other columns than the pipeline")
		}
		var all Values
		for i, text := range texts {
			all = append(all, Value{shown[2+i].name, json.RawMessage(text)})
		}
		keys := all[:len(s.table.Keys):len(s.table.Keys)]
		if start.Equal(at.At) {
			exact++
		}
		if len(many.Keys) == 0 { // those that begin last come first
			l.Start, l.End, l.Keys, l.Answer = start.UTC(), end.UTC(), keys, all[len(keys):]
		}
		if len(many.Keys) == manyRows {
			many.More = true
			return nil
		}
		text, err := json.Marshal(start.UTC())
		many.Keys = append(many.Keys, append(Values{{"window_start", text}}, keys...))
		return err
	})
	switch {
	case err != nil:
		return err
	case len(many.Keys) == 0:
		return ErrNoRow
	case len(many.Keys) > 1 && exact != 1:
		return &many
	}
	return nil
}

// sources reads the rows the finished one is merged from.
func (s *Sink) sources(ctx context.Context, l *Lineage, at RowAddress) error {
	var names, columns []string
	for _, a := range s.table.Aggregates {
		for _, st := range a.States {
			names = append(names, st.Name)
			columns = append(columns, valueSQL(st.Name, st.Type.Kind == batch.Binary))
		}
	}
	from, to := "=", "="
	if s.table.Sessions { // those that the finished one is made of are in it, and no others of its key
		from, to, at = ">=", "<=", l.address()
	}
	only := ""
	if s.table.Full > 0 {
		at, only = l.address(), l.segmentSQL()
	}
	sql := fmt.Sprintf(`SELECT _site, _pipeline, leftPad(lower(hex(_rev)), 16, '0'), _topic, toString(_topic_id), _partition, _segment, toInt64(_version), toInt64(_rows), _node,
    _received_at, toString(_shipped), _width != 0, [%s]
FROM %s FINAL
WHERE window_start %s fromUnixTimestamp64Milli(%d, 'UTC') AND window_end %s fromUnixTimestamp64Milli(%d, 'UTC')%s
    AND %s
ORDER BY _site, _pipeline, _topic, _topic_id, _partition, _segment, _rev
SETTINGS %s`, strings.Join(columns, ", "), qualified(s.cfg.Database, s.layout.partials().name), from, l.Start.UnixMilli(), to, l.End.UnixMilli(), s.keysSQL(at)+only,
		counting(s.cfg.Database, &s.table), jsonSettings)
	return s.query(ctx, "read the rows it is made of", sql, func(rows driver.Rows) error {
		src, texts := Source{DeadLetters: map[string]int64{}, State: "unaccounted"}, []string(nil)
		if err := rows.Scan(&src.Site, &src.Pipeline, &src.Revision, &src.Topic, &src.TopicID, &src.Partition, &src.Segment, &src.To,
			&src.Rows, &src.Node, &src.StoredAt, &src.Shipped, &src.Merged, &texts); err != nil {
			return err
		}
		for i := range min(len(texts), len(names)) {
			src.Values = append(src.Values, Value{names[i], json.RawMessage(texts[i])})
		}
		src.StoredAt = src.StoredAt.UTC()
		l.Rows += src.Rows
		l.Sources = append(l.Sources, src)
		return nil
	})
}

// address names the row that was found, with all of its keys.
func (l *Lineage) address() RowAddress {
	at := RowAddress{At: l.Start, Keys: map[string]*string{}}
	for _, k := range l.Keys {
		var text string
		switch err := json.Unmarshal(k.JSON, &text); {
		case string(k.JSON) == "null":
			at.Keys[k.Name] = nil
			continue
		case err != nil: // a number, or true or false
			text = string(k.JSON)
		}
		at.Keys[k.Name] = &text
	}
	return at
}

// accounts reads the accounts of the pipelines, and finds out what may still change.
func (s *Sink) accounts(ctx context.Context, l *Lineage) error {
	pipelines := distinct(l.Sources, func(s *Source) string { return s.Pipeline })
	if len(pipelines) == 0 {
		return nil
	}
	sql := fmt.Sprintf(`SELECT site, pipeline, leftPad(lower(hex(rev)), 16, '0'), topic, toString(topic_id), partition, segment, start_offset, toInt64(version), watermark_us, final_us,
    records_in, expanded, aggregated, late, filtered, rejected, dropped, open_rows, spans, gap, lost_rows, gap_reason, node, content_columns != '', received_at
FROM %s FINAL
WHERE pipeline IN (%s)
ORDER BY site, pipeline, topic, topic_id, partition, segment, start_offset`,
		qualified(s.cfg.Database, coverageTable), quoteAll(pipelines))
	last := map[string]uint64{} // segment of each partition
	// A topic of the same name that is another one, and a revision, take the place of those before.
	type head struct {
		Behind
		heard time.Time
	}
	heads := map[string]*head{}
	var order []*head
	err := s.query(ctx, "read the accounts", sql, func(rows driver.Rows) error {
		var k Source
		var a Account
		var watermark, final int64
		var heard time.Time
		var flat []int64
		if err := rows.Scan(&k.Site, &k.Pipeline, &k.Revision, &k.Topic, &k.TopicID, &k.Partition, &k.Segment, &a.Start, &a.Version, &watermark, &final,
			&a.RecordsIn, &a.Expanded, &a.Counted, &a.Late, &a.Filtered, &a.Rejected, &a.Dropped, &a.Open, &flat, &a.Gap, &a.Lost, &a.GapReason, &a.Node, &a.Hashed, &heard); err != nil {
			return err
		}
		a.Watermark, a.Final = microTime(watermark), microTime(final)
		spans, err := sink.FlatSpans(flat)
		if err != nil {
			return err
		}
		if at, in := spans.Find(l.Start.UnixMilli()); in && at.Dropped() {
			l.Dropped = append(l.Dropped, DroppedWindow{
				k.Site, k.Topic, k.Partition, k.Segment, time.UnixMilli(at.From).UTC(), time.UnixMilli(at.To).UTC(),
			})
		}
		for i := range l.Sources {
			src := &l.Sources[i]
			if src.segmentID() != k.segmentID() {
				continue
			}
			src.Account, src.From, src.State = &a, a.Start, "open"
			if final != sink.MinWatermark && l.End.UnixMicro() <= final || s.isFull(src) && src.To <= a.Version {
				src.State = "final"
			}
		}
		last[k.partitionID()] = k.Segment
		k.TopicID = ""
		id := k.partitionID()
		h := heads[id]
		if h == nil {
			h = &head{}
			heads[id], order = h, append(order, h)
		}
		if !heard.Before(h.heard) {
			*h = head{Behind{k.Site, k.Topic, k.Partition, a.Final}, heard}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range l.Sources {
		src := &l.Sources[i]
		if src.State == "open" && last[src.partitionID()] > src.Segment {
			src.State = "closed"
		}
	}
	for _, h := range order {
		if s.table.Full > 0 && !slices.ContainsFunc(l.Sources, func(src Source) bool { return !s.isFull(&src) && src.isOf(&h.Behind) }) {
			continue // the window is of another partition, or full
		}
		if h.Final == nil || h.Final.Before(l.End) {
			l.Waiting = append(l.Waiting, h.Behind)
		}
	}
	unsettled := func(src Source) bool { return src.State == "open" || src.State == "unaccounted" }
	l.Final = len(l.Waiting) == 0 && !slices.ContainsFunc(l.Sources, unsettled)
	return nil
}

func (s *Source) partitionID() string {
	return fmt.Sprintf("%q %q %q %s %d", s.Site, s.Pipeline, s.Topic, s.TopicID, s.Partition)
}

func (s *Source) segmentID() string {
	return fmt.Sprintf("%s %s %d", s.partitionID(), s.Revision, s.Segment)
}

// lettersOf counts the dead letters of records whose timestamp is in the window.
func (s *Sink) lettersOf(ctx context.Context, l *Lineage) error {
	pipelines := distinct(l.Sources, func(s *Source) string { return s.Pipeline })
	if len(pipelines) == 0 {
		return nil
	}
	sql := fmt.Sprintf(`SELECT site, pipeline, leftPad(lower(hex(rev)), 16, '0'), topic, toString(topic_id), partition, segment, reason, toInt64(count())
FROM %s FINAL
WHERE pipeline IN (%s) AND time >= fromUnixTimestamp64Milli(%d, 'UTC') AND time < fromUnixTimestamp64Milli(%d, 'UTC')
GROUP BY site, pipeline, rev, topic, topic_id, partition, segment, reason`,
		qualified(s.cfg.Database, deadLetterTable), quoteAll(pipelines), l.Start.UnixMilli(), l.End.UnixMilli())
	return s.query(ctx, "count dead letters", sql, func(rows driver.Rows) error {
		var k Source
		var reason string
		var n int64
		if err := rows.Scan(&k.Site, &k.Pipeline, &k.Revision, &k.Topic, &k.TopicID, &k.Partition, &k.Segment, &reason, &n); err != nil {
			return err
		}
		for i := range l.Sources {
			if src := &l.Sources[i]; src.segmentID() == k.segmentID() {
				src.DeadLetters[reason] = n
			}
		}
		return nil
	})
}

// revisionsOf tells what the revisions of the sources consist of.
func (s *Sink) revisionsOf(ctx context.Context, l *Lineage) error {
	index := map[string]int{}
	of := func(pipeline, site, rev string) string { return fmt.Sprintf("%q %q %s", pipeline, site, rev) }
	for i := range l.Sources {
		src := &l.Sources[i]
		id := of(src.Pipeline, src.Site, src.Revision)
		if _, there := index[id]; !there {
			index[id] = len(l.Revisions)
			l.Revisions = append(l.Revisions, SourceRevision{
				Revision: src.Revision, Site: src.Site, Spec: json.RawMessage("null"), Operators: []sink.Operator{}, Nodes: []RevisionNode{},
			})
		}
	}
	for _, pipeline := range distinct(l.Sources, func(s *Source) string { return s.Pipeline }) {
		stored, err := s.Revisions(ctx, pipeline)
		if err != nil {
			return err
		}
		for i := range stored {
			r := &stored[i]
			at, wanted := index[of(pipeline, r.Site, sink.RevisionText(r.Revision.Revision))]
			if !wanted {
				continue
			}
			to := &l.Revisions[at]
			if len(to.Nodes) == 0 { // the one that was seen last
				to.SpecDigest = r.SpecDigest
				to.Operators = append(to.Operators, r.Operators...)
				if json.Valid([]byte(r.Spec)) {
					to.Spec = json.RawMessage(r.Spec)
				}
			}
			to.Nodes = append(to.Nodes, RevisionNode{r.Node, r.Weir, r.Started.UTC(), r.LastSeen.UTC()})
		}
	}
	return nil
}

// microTime is a time of an account; nil where there was no row, or where it is none that can be shown.
func microTime(us int64) *time.Time {
	if us < minTime.UnixMicro() || us > maxTime.UnixMicro() {
		return nil
	}
	t := time.UnixMicro(us).UTC()
	return &t
}

// distinct lists the values of sources in the order they come.
func distinct(sources []Source, of func(*Source) string) []string {
	var out []string
	for i := range sources {
		if v := of(&sources[i]); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func quoteAll(values []string) string {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	return strings.Join(quoted, ", ")
}
