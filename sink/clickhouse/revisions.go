package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// revisionTable says what each revision of each pipeline consists of.
const revisionTable = "weir_revisions"

// revisionEvery is how often last_seen of a revision that ships is brought up to date.
const revisionEvery = time.Hour

// revisionDef is the table of revisions: a row per revision, node and run of it. Nothing in it expires: it is small, and rows of
// a revision may be kept for ever.
func revisionDef() tableDef {
	d := tableDef{
		name:     revisionTable,
		version:  "last_seen",
		order:    []string{"site", "pipeline", "rev", "node", "started_at"},
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: what each revision of a pipeline consists of, and which node ran it when",
	}
	for _, c := range revisionColumns {
		d.columns = append(d.columns, columnDef{name: c[0], typ: c[1], codec: c[2]})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"})
	return d
}

// revisionColumns are the columns weir writes, with types and codecs, in the order insertRevisions fills them.
var revisionColumns = [][3]string{
	{"site", "String", ""},
	{"pipeline", "String", ""},
	{"rev", "UInt64", ""},
	{"node", "String", ""},
	{"started_at", "DateTime64(3, 'UTC')", ""},
	{"last_seen", "DateTime64(3, 'UTC')", ""},
	{"weir_version", "String", ""},
	{"spec", "String", "ZSTD(1)"},
	{"spec_sha256", "String", ""},
	{"operator_steps", "Array(String)", ""},
	{"operator_files", "Array(String)", ""},
	{"operator_sha256", "Array(String)", ""},
}

// revisions are those that this process ships rows of.
type revisions struct {
	mu    sync.Mutex // not Sink.mu, which is held while the server is waited for
	known map[uint64]*describedRevision
}

type describedRevision struct {
	sink.Revision
	stored time.Time // when the server was last told; zero if never
}

// maxRevisions bounds how many revisions a process remembers. The oldest that the server knows of are forgotten.
const maxRevisions = 64

// Describe says what a revision consists of. Write stores it before the first rows of the revision. It returns at once,
// whatever Write is waiting for.
func (s *Sink) Describe(r sink.Revision) {
	s.revisions.mu.Lock()
	defer s.revisions.mu.Unlock()
	if s.revisions.known[r.Revision] != nil {
		return // a reload to what was before, or to what gives the same
	}
	s.revisions.known[r.Revision] = &describedRevision{Revision: r}
	for len(s.revisions.known) > maxRevisions {
		var oldest *describedRevision
		for _, d := range s.revisions.known {
			if !d.stored.IsZero() && (oldest == nil || d.Started.Before(oldest.Started)) {
				oldest = d
			}
		}
		if oldest == nil {
			return // none is stored: they are needed
		}
		delete(s.revisions.known, oldest.Revision.Revision)
	}
}

// describe stores what the revisions of the cuts consist of, before anything of theirs. So rows whose making cannot be told do
// not exist.
func (w *write) describe(ctx context.Context) error {
	now := time.Now()
	var rows []sink.Revision
	w.revisions.mu.Lock()
	for i, c := range w.cuts {
		_, rejected := w.rejected[i]
		d := w.revisions.known[c.Coverage.Revision]
		if rejected || d == nil || now.Sub(d.stored) < revisionEvery {
			continue
		}
		if !slices.ContainsFunc(rows, func(r sink.Revision) bool { return r.Revision == d.Revision.Revision }) {
			rows = append(rows, d.Revision)
		}
	}
	w.revisions.mu.Unlock()
	if len(rows) == 0 {
		return nil
	}
	if err := w.insertRevisions(ctx, rows, now); err != nil {
		return err
	}
	w.revisions.mu.Lock()
	defer w.revisions.mu.Unlock()
	for i := range rows {
		if d := w.revisions.known[rows[i].Revision]; d != nil {
			d.stored = now
		}
	}
	return nil
}

func (s *Sink) insertRevisions(ctx context.Context, rows []sink.Revision, now time.Time) error {
	def := revisionDef()
	columns := make([]string, len(revisionColumns))
	for i, c := range revisionColumns {
		columns[i] = c[0]
	}
	tok := newToken(qualified(s.cfg.Database, revisionTable))
	for i := range rows {
		r := &rows[i]
		for _, v := range []string{s.table.Site, s.table.Pipeline, s.table.Node, r.Weir, r.Spec, r.SpecDigest} {
			tok.text(v)
		}
		for _, v := range []uint64{r.Revision, uint64(r.Started.UnixMilli()), uint64(now.UnixMilli())} {
			tok.uint(v)
		}
	}
	return s.insert(ctx, &def, columns, tok, len(rows), func(b driver.Batch) error {
		for i := range rows {
			r := &rows[i]
			steps, files, digests := make([]string, len(r.Operators)), make([]string, len(r.Operators)), make([]string, len(r.Operators))
			for j, o := range r.Operators {
				steps[j], files[j], digests[j] = o.Step, o.File, o.Digest
			}
			started, seen := clampMillis(r.Started).UTC(), clampMillis(now).UTC()
			if err := b.Append(
				s.table.Site, s.table.Pipeline, r.Revision, s.table.Node, started, seen, r.Weir, r.Spec, r.SpecDigest, steps, files, digests,
			); err != nil {
				return err
			}
		}
		return nil
	})
}

// StoredRevision is a revision as a node ran it.
type StoredRevision struct {
	sink.Revision // Started is when it first began there, Weir the version that ran it last
	Site, Node    string
	LastSeen      time.Time // when rows of it were last stored from there, to the hour
}

// Revisions reads what is stored of the revisions of a pipeline, of every site: a row per site, revision and node, those seen last
// first.
func (s *Sink) Revisions(ctx context.Context, pipeline string) ([]StoredRevision, error) {
	sql := fmt.Sprintf(`SELECT
    site, rev, node, min(started_at) AS started, max(last_seen) AS seen, argMax(weir_version, last_seen),
    argMax(spec, last_seen), argMax(spec_sha256, last_seen),
    argMax(operator_steps, last_seen), argMax(operator_files, last_seen), argMax(operator_sha256, last_seen)
FROM %s
WHERE pipeline = %s
GROUP BY site, rev, node
ORDER BY seen DESC, site, rev, node`, qualified(s.cfg.Database, revisionTable), quote(pipeline))
	var all []StoredRevision
	err := s.query(ctx, "read the revisions of "+pipeline, sql, func(rows driver.Rows) error {
		var r StoredRevision
		var steps, files, digests []string
		if err := rows.Scan(&r.Site, &r.Revision.Revision, &r.Node, &r.Started, &r.LastSeen, &r.Weir, &r.Spec, &r.SpecDigest,
			&steps, &files, &digests); err != nil {
			return err
		}
		for i := range min(len(steps), len(files), len(digests)) {
			r.Operators = append(r.Operators, sink.Operator{Step: steps[i], File: files[i], Digest: digests[i]})
		}
		all = append(all, r)
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	return all, nil
}
