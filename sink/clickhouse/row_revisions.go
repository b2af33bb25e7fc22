package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// RowRevision is a revision of which rows are stored.
type RowRevision struct {
	Site, Pipeline string
	Revision       uint64
	First, Last    time.Time // where the first of its windows starts and the last one ends, UTC
	// Spec is what weir_revisions says that the revision consists of (sink.Revision.Spec); empty where it does not know it.
	Spec string
}

// RowRevisions lists the revisions, of all sites and pipelines that ship to the table, of which there are rows in windows that start at
// since or later and end at until or before; the zero time is no bound. known is a revision of this pipeline whose Spec nobody needs:
// where there are rows of no other, weir_revisions is not read.
func (s *Sink) RowRevisions(ctx context.Context, since, until time.Time, known uint64) ([]RowRevision, error) {
	where := "true"
	if !since.IsZero() {
		where += fmt.Sprintf(" AND window_start >= fromUnixTimestamp64Milli(%d, 'UTC')", since.UnixMilli())
	}
	if !until.IsZero() {
		where += fmt.Sprintf(" AND window_end <= fromUnixTimestamp64Milli(%d, 'UTC')", until.UnixMilli())
	}
	sql := fmt.Sprintf(`SELECT _site, _pipeline, _rev, min(window_start), max(window_end) FROM %s
WHERE %s
GROUP BY _site, _pipeline, _rev
ORDER BY min(window_start), _site, _pipeline, _rev`, qualified(s.cfg.Database, s.layout.partials().name), where)
	var all []RowRevision
	err := s.query(ctx, "look for the revisions that rows are of", sql, func(rows driver.Rows) error {
		var r RowRevision
		if err := rows.Scan(&r.Site, &r.Pipeline, &r.Revision, &r.First, &r.Last); err != nil {
			return err
		}
		r.First, r.Last = r.First.UTC(), r.Last.UTC()
		all = append(all, r)
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	stored := map[string][]StoredRevision{} // by pipeline
	for i := range all {
		r := &all[i]
		if r.Pipeline == s.table.Pipeline && r.Revision == known {
			continue
		}
		if stored[r.Pipeline] == nil {
			if stored[r.Pipeline], err = s.Revisions(ctx, r.Pipeline); err != nil {
				return nil, err
			}
		}
		for _, of := range stored[r.Pipeline] { // those seen last come first; what a revision consists of is the same everywhere
			if of.Revision.Revision == r.Revision {
				r.Spec = of.Spec
				break
			}
		}
	}
	return all, nil
}

// Text is the revision as people are shown it.
func (r *RowRevision) Text() string { return sink.RevisionText(r.Revision) }
