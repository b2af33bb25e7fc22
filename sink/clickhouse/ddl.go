package clickhouse

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// The names of the tables that all pipelines of a database share.
const (
	coverageTable    = "weir_coverage"
	completenessView = "weir_completeness"
	deadLetterTable  = "weir_dead_letters"
	letterMarkTable  = "weir_dead_letter_marks"
	stateTable       = "weir_state" // where the pipeline is stateful
)

// dedupWindow is how many inserts a table remembers the tokens of. It only saves work on a retry.
const dedupWindow = 1000

// DDL lists the statements that make every table and view of a pipeline, in the order to run them. All of them can be
// run again.
func DDL(cfg Config, table sink.Table) ([]string, error) {
	cfg, _, err := cfg.options()
	if err != nil {
		return nil, err
	}
	if err := checkTable(&table); err != nil {
		return nil, err
	}
	return newLayout(cfg, &table).ddl(), nil
}

// layout is every table and view of a pipeline, as data: DDL prints it, Check compares it, inserts name its columns.
type layout struct {
	database string
	schema   *batch.Schema // of the rows of a cut
	counting string        // the condition that chooses the rows that count, for readers that know of all tables
	isFinal  string        // the condition that a row is of a window that is final by its account
	changed  string        // the condition that the rows that are final have another hash than the account says
	tables   []tableDef    // partials, coverage, dead letters, revisions, marks of dead letters, usage where it is shipped, states where there are any
	views    []viewDef     // finished, completeness, roll-ups, usage by hour
}

func newLayout(cfg Config, t *sink.Table) *layout {
	l := &layout{
		database: cfg.Database,
		schema:   t.Schema(),
		isFinal:  isFinal(t),
		changed:  finalChanged(t),
		counting: counted(cfg.Database) + "\n            AND " + finished(cfg.Database),
		tables:   []tableDef{partialsDef(cfg, t), coverageDef(t), deadLettersDef(cfg), revisionDef(), letterMarksDef()},
		views:    []viewDef{finishedDef(cfg, t), completenessDef(cfg)},
	}
	for i := range t.Rollups {
		l.views = append(l.views, rollupDef(cfg, t, &t.Rollups[i]))
	}
	if t.Sessions {
		l.counting = counting(cfg.Database, t)
	}
	if !cfg.NoUsage {
		l.tables, l.views = append(l.tables, usageDef()), append(l.views, usageHourlyDef(cfg))
	}
	if t.Stateful {
		l.tables = append(l.tables, stateDef())
	}
	return l
}

func (l *layout) partials() *tableDef    { return &l.tables[0] }
func (l *layout) coverage() *tableDef    { return &l.tables[1] }
func (l *layout) deadLetters() *tableDef { return &l.tables[2] }

// states is nil where the pipeline keeps none.
func (l *layout) states() *tableDef {
	if last := &l.tables[len(l.tables)-1]; last.name == stateTable {
		return last
	}
	return nil
}

func (l *layout) ddl() []string {
	stmts := []string{}
	if l.database != "default" {
		stmts = append(stmts, "CREATE DATABASE IF NOT EXISTS "+ident(l.database))
	}
	for i := range l.tables {
		stmts = append(stmts, l.tables[i].create(l.database))
	}
	for i := range l.views {
		stmts = append(stmts, l.views[i].create(l.database))
	}
	return stmts
}

// columnDef is a column of a table or view.
type columnDef struct {
	name, typ string
	computed  string // the expression of a MATERIALIZED column, which the server fills in; or empty
	codec     string // how it is compressed; empty is the server's way
}

func (c columnDef) String() string {
	s := ident(c.name) + " " + c.typ
	if c.computed != "" {
		s += " MATERIALIZED " + c.computed
	}
	if c.codec != "" {
		s += " CODEC(" + c.codec + ")"
	}
	return s
}

// tableDef is a ReplacingMergeTree.
type tableDef struct {
	name      string
	columns   []columnDef
	version   string   // the column whose highest value wins; empty: the last insert does
	before    string   // what it was in tables of earlier versions of weir, where that is good enough; or empty
	partition string   // expression over columns of the identity, or empty
	primary   int      // how many columns of order are in the primary index; 0 is all
	order     []string // the identity of a row
	ttl       string
	settings  []string
	comment   string
}

func (t *tableDef) create(database string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s\n(", qualified(database, t.name))
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n    " + c.String())
	}
	fmt.Fprintf(&b, "\n)\nENGINE = ReplacingMergeTree(%s)", quoteNonEmpty(t.version))
	if t.partition != "" {
		b.WriteString("\nPARTITION BY " + t.partition)
	}
	if t.primary > 0 && t.primary < len(t.order) {
		b.WriteString("\nPRIMARY KEY (" + idents(t.order[:t.primary]) + ")")
	}
	b.WriteString("\nORDER BY (" + idents(t.order) + ")")
	if t.ttl != "" {
		b.WriteString("\nTTL " + t.ttl)
	}
	b.WriteString("\nSETTINGS " + strings.Join(t.settings, ", "))
	b.WriteString("\nCOMMENT " + quote(t.comment))
	return b.String()
}

// addColumn is the statement that adds a column which is not part of the identity.
func (t *tableDef) addColumn(database string, c columnDef) string {
	return fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s", qualified(database, t.name), c)
}

// anew says how to make the table again with what it has, where aside says how to do without.
func (t *tableDef) anew(database, aside string) string {
	if t.name != coverageTable {
		return aside
	}
	var columns []string
	for _, c := range t.columns {
		if c.computed == "" {
			columns = append(columns, c.name)
		}
	}
	return fmt.Sprintf("this cannot be changed in place; stop all nodes, run RENAME TABLE %[1]s TO %[2]s, apply the schema, and run INSERT INTO %[1]s (%[3]s) SELECT %[3]s FROM %[2]s",
		qualified(database, t.name), qualified(database, t.name+"_old"), idents(columns))
}

func (t *tableDef) identity(column string) bool {
	for _, o := range t.order {
		if o == column {
			return true
		}
	}
	return false
}

// sourceIdentity says where a partial comes from. The names start with _ so that no key or aggregate has them.
// _width is that of a window which others were merged into, in milliseconds, and 0 of others.
var sourceIdentity = []string{"_site", "_pipeline", "_rev", "_topic", "_topic_id", "_partition", "_segment", "_width"}

// shippedType tells how a row came: as it was aggregated, or later from the disk of its node. The first is what rows have that
// were stored before there was the column.
const shippedType = "Enum8('live' = 0, 'backlog' = 1)"

// openColumn tells of a session whether it was not final when it was stored.
const openColumn = "_open"

func partialsDef(cfg Config, t *sink.Table) tableDef {
	d := tableDef{
		name: cfg.Table + "_partials",
		columns: []columnDef{
			{name: "window_start", typ: "DateTime64(3, 'UTC')"},
			{name: "window_end", typ: "DateTime64(3, 'UTC')"},
		},
		version: "_version",
		// A function of the identity, or versions of a row would never meet. A day, so that old windows are dropped as
		// whole parts, and a block spans few of them. Not toDate: it wraps around outside 1970 to 2149, so a partition
		// would hold days far apart and be named after the wrong one.
		partition: "toYYYYMMDD(window_start)",
		order:     []string{"window_start"},
		settings:  []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:   "weir: cumulative partial aggregates by source; read the view " + cfg.Table + " instead",
	}
	nullable := false
	for _, k := range t.Keys {
		d.columns = append(d.columns, columnDef{name: k.Name, typ: columnType(k)})
		d.order = append(d.order, k.Name)
		nullable = nullable || k.Nullable
	}
	d.primary = len(d.order)
	for _, a := range t.Aggregates {
		for _, s := range a.States {
			d.columns = append(d.columns, columnDef{name: s.Name, typ: columnType(s.Field)})
		}
	}
	d.columns = append(
		d.columns,
		columnDef{name: "_rows", typ: "UInt64"},
		columnDef{name: "_site", typ: "String"},
		columnDef{name: "_pipeline", typ: "String"},
		columnDef{name: "_rev", typ: "UInt64"},
		columnDef{name: "_topic", typ: "String"},
		columnDef{name: "_topic_id", typ: "UUID"},
		columnDef{name: "_partition", typ: "UInt32"},
		columnDef{name: "_segment", typ: "UInt64"},
		columnDef{name: "_width", typ: "UInt32"},
		columnDef{name: "_version", typ: "UInt64"},
		columnDef{name: "_node", typ: "String"},
		columnDef{name: "_shipped", typ: shippedType},
		columnDef{name: "_received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"},
	)
	if t.Sessions {
		d.columns = append(d.columns, columnDef{name: openColumn, typ: "Bool"})
	}
	d.order = append(d.order, sourceIdentity...)
	if cfg.TTL > 0 {
		d.ttl = ttl("window_end", cfg.TTL)
		d.settings = append(d.settings, "ttl_only_drop_parts = 1")
	}
	if nullable {
		d.settings = append(d.settings, "allow_nullable_key = 1")
	}
	return d
}

// precedenceColumn decides which account of a segment holds. Of two of one version it is the one with fewer open rows: where windows are
// shipped when they are final, a lane that ends stores all of them, and its account replaces one of the same version that has open rows,
// whichever of them arrives last, or twice.
var precedenceColumn = columnDef{
	name: "precedence", typ: "UInt128",
	computed: "bitOr(bitShiftLeft(toUInt128(version), 64), toUInt128(bitNot(toUInt64(open_rows))))",
}

func coverageDef(t *sink.Table) tableDef {
	d := tableDef{
		name:     coverageTable,
		version:  precedenceColumn.name,
		order:    []string{"site", "pipeline", "topic", "topic_id", "partition", "rev", "segment"},
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: what was read from each segment of each partition, and where it went",
	}
	for _, c := range coverageColumns {
		d.columns = append(d.columns, columnDef{name: c[0], typ: c[1]})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"}, precedenceColumn)
	if !t.Final {
		d.before = "version" // no account of this pipeline's has open rows
	}
	return d
}

// coverageColumns are the columns weir writes, with their types, in the order coverage.go fills them. Offsets and
// counts are as in sink.Coverage; times are microseconds since 1970, which hold any event time and the lowest one. The leader epoch
// is null where it is not known.
var coverageColumns = [][2]string{
	{"site", "String"},
	{"pipeline", "String"},
	{"rev", "UInt64"},
	{"topic", "String"},
	{"topic_id", "UUID"},
	{"partition", "UInt32"},
	{"segment", "UInt64"},
	{"start_offset", "Int64"},
	{"version", "UInt64"},
	{"watermark_us", "Int64"},
	{"final_us", "Int64"},
	{"records_in", "Int64"},
	{"expanded", "Int64"},
	{"aggregated", "Int64"},
	{"late", "Int64"},
	{"filtered", "Int64"},
	{"rejected", "Int64"},
	{"gap", "Int64"},
	{"gap_reason", "String"},
	{"node", "String"},
	{"hash", "String"},
	{"content_columns", "String"},
	{"content_final", "UInt64"},
	{"content_all", "UInt64"},
	{"dropped", "Int64"},
	{"spans", "Array(Int64)"},
	{"open_rows", "Int64"},
	{"lost_rows", "Int64"},
	{"leader_epoch", "Nullable(Int32)"},
}

// laterCoverageColumns are those that were added to the table after there were rows in it, with the value such rows have. They
// are the last.
var laterCoverageColumns = map[string]string{
	"content_columns": "''", "content_final": "0", "content_all": "0", "dropped": "0", "spans": "emptyArrayInt64()", "open_rows": "0",
	"lost_rows": "0", "leader_epoch": "NULL",
}

func deadLettersDef(cfg Config) tableDef {
	d := tableDef{
		name: deadLetterTable,
		columns: []columnDef{
			{name: "site", typ: "String"},
			{name: "pipeline", typ: "String"},
			{name: "rev", typ: "UInt64"},
			{name: "topic", typ: "String"},
			{name: "topic_id", typ: "UUID"},
			{name: "partition", typ: "UInt32"},
			{name: "segment", typ: "UInt64"},
			{name: "record_offset", typ: "Int64"},
			{name: "step", typ: "String"},
			{name: "row_index", typ: "Int32"},
			{name: "time", typ: "DateTime64(3, 'UTC')"},
			{name: "reason", typ: "String"},
			{name: "detail", typ: "String"},
			{name: "record_key", typ: "String"},
			{name: "payload", typ: "String"},
			{name: "truncated", typ: "Bool"},
			{name: "is_row", typ: "Bool"},
			{name: "node", typ: "String"},
			{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"},
		},
		// Not partitioned: the identity has no time, and copies in different partitions would never replace each other.
		order:    []string{"site", "pipeline", "topic", "topic_id", "partition", "rev", "segment", "record_offset", "step", "row_index"},
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: records and rows that could not go on, and why",
	}
	if cfg.DeadLetterTTL > 0 {
		d.ttl = ttl("received_at", cfg.DeadLetterTTL)
	}
	return d
}

// ttl is the expression that drops rows some time after a column's time. Times that DateTime cannot hold are moved to
// where it can: it wraps around outside 1970 to 2106, and windows of the far future would be dropped at once.
func ttl(column string, after time.Duration) string {
	interval := fmt.Sprintf("toIntervalSecond(%d)", int64((after+time.Second-1)/time.Second))
	if day := 24 * time.Hour; after%day == 0 {
		interval = fmt.Sprintf("toIntervalDay(%d)", after/day)
	}
	return fmt.Sprintf("toDateTime(greatest(least(%s, toDateTime64('2100-01-01', 3, 'UTC')), toDateTime64('1970-01-01', 3, 'UTC'))) + %s", column, interval)
}

// checkTable refuses what could not become a table, before any SQL is made from it.
func checkTable(t *sink.Table) error {
	for _, n := range []struct{ what, value string }{{"pipeline", t.Pipeline}, {"site", t.Site}} {
		if n.value == "" {
			return fmt.Errorf("the table has no %s name", n.what)
		}
	}
	if len(t.Aggregates) == 0 {
		return fmt.Errorf("pipeline %s has no aggregate to store", t.Pipeline)
	}
	seen := map[string]string{"window_start": "weir's own column", "window_end": "weir's own column"}
	add := func(what, column string) error {
		if !name.MatchString(column) && column != sink.Overflow && column != sink.WindowNumber {
			return fmt.Errorf("%s %q cannot be a column in ClickHouse: use a letter, then letters, digits and _", what, column)
		}
		if other, dup := seen[column]; dup {
			return fmt.Errorf("%s %q has the name of %s: rename one", what, column, other)
		}
		seen[column] = what + " " + column
		return nil
	}
	for _, k := range t.Keys {
		if err := add("key", k.Name); err != nil {
			return err
		}
		if !k.Type.Flat() {
			return fmt.Errorf("key %q has no type", k.Name)
		}
	}
	for _, a := range t.Aggregates {
		want := 1
		if a.Finish == sink.FinishRatio {
			want = 2
		}
		if len(a.States) < want {
			return fmt.Errorf("aggregate %q has %d states, and its answer needs %d", a.Name, len(a.States), want)
		}
		if err := add("aggregate", a.Name); err != nil {
			return err
		}
		for _, s := range a.States {
			if s.Name == a.Name {
				continue
			}
			if err := add("state", s.Name); err != nil {
				return err
			}
		}
		if a.Finish == sink.FinishNone {
			if err := add("the list of states", statesColumn(a.Name)); err != nil {
				return err
			}
		}
		for _, s := range a.States {
			if !s.Type.Flat() {
				return fmt.Errorf("state %q of aggregate %q has no type", s.Name, a.Name)
			}
			if s.Merge == sink.MergeOpaque && (s.Type.Kind != batch.Binary || s.Nullable) {
				return fmt.Errorf("state %q of aggregate %q: states that are bytes are binary and not null", s.Name, a.Name)
			}
			if s.Merge == sink.MergeSum && !s.Type.Numeric() && s.Type.Kind != batch.Decimal {
				return fmt.Errorf("state %q of aggregate %q: %s cannot be summed", s.Name, a.Name, s.Type)
			}
		}
	}
	for _, c := range t.Computed {
		if err := add("column", c.Name); err != nil {
			return err
		}
		if !c.Type.Flat() || c.Expr == "" {
			return fmt.Errorf("computed column %q has no type or no expression", c.Name)
		}
	}
	return checkRollups(t)
}

// ident quotes a name.
func ident(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

func idents(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = ident(n)
	}
	return strings.Join(quoted, ", ")
}

func qualified(database, table string) string { return ident(database) + "." + ident(table) }

func quoteNonEmpty(n string) string {
	if n == "" {
		return ""
	}
	return ident(n)
}

// quote makes a string literal.
func quote(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}
