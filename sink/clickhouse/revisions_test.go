package clickhouse_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/sink"
)

// TestRevisions stores cuts of described revisions, and looks at what the table and its reader have.
func TestRevisions(t *testing.T) {
	b := newBed(t)
	odd := "line 'one' \\ \"größe\"\n"
	began := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	first := sink.Revision{
		Revision: 1<<63 + 5, Spec: `{"x":"` + odd + `"}`, SpecDigest: "80", Weir: "weir 1", Started: began,
		Operators: []sink.Operator{{Step: "2 wasm calibrate", File: odd, Digest: "ab"}, {Step: "window vwap", File: "v.wasm", Digest: "cd"}},
	}
	b.sink.Describe(first)
	b.sink.Describe(sink.Revision{Revision: first.Revision, Spec: "the second description of a revision is not taken", Started: began})
	b.sink.Describe(sink.Revision{Revision: 7, Spec: "{}", SpecDigest: "07", Weir: "weir 1", Started: began})
	read := func() []string {
		t.Helper()
		all, err := b.sink.Revisions(b.ctx(), b.tab.Pipeline)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range all {
			if time.Since(r.LastSeen) > time.Minute {
				t.Errorf("last seen %s", r.LastSeen)
			}
			out = append(out, fmt.Sprintf("%s %s %x %q %s %s %s %q", r.Site, r.Node, r.Revision.Revision, r.Spec, r.SpecDigest, r.Weir,
				r.Started.UTC().Format(time.RFC3339), r.Operators))
		}
		slices.Sort(out)
		return out
	}
	want := func(lines ...string) {
		t.Helper()
		if got := strings.Join(read(), "\n"); got != strings.Join(lines, "\n") {
			t.Errorf("stored\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
		}
	}
	want() // nothing was shipped
	one := fmt.Sprintf("berlin edge-1 8000000000000005 %q 80 weir 1 2026-03-01T10:00:00Z %q", first.Spec, first.Operators)
	b.write(b.cut(source{rev: first.Revision}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}))
	want(one)
	b.write(b.cut(source{rev: first.Revision}, 20, row{1_700_000_000, "a", 2, f(1), 1, f(1)})) // told once
	if got := b.ask("SELECT toString(count()) FROM weir_revisions")[0]; got != "1" {
		t.Errorf("%s rows", got)
	}

	// The node is started again by another version, and another node has the revision, too.
	again := b.open(b.cfg)
	r := first
	r.Weir, r.Started = "weir 2", began.Add(time.Hour)
	again.Describe(r)
	cut := b.cut(source{rev: first.Revision}, 30, row{1_700_000_000, "a", 2, f(1), 1, f(1)})
	if err := again.Write(b.ctx(), []*sink.Cut{cut}); err != nil {
		t.Fatal(err)
	}
	b.tab.Node = "edge-2"
	other := b.open(b.cfg)
	other.Describe(r)
	if err := other.Write(b.ctx(), []*sink.Cut{cut}); err != nil {
		t.Fatal(err)
	}
	want(strings.Replace(one, "weir 1", "weir 2", 1), strings.NewReplacer("edge-1", "edge-2", "weir 1", "weir 2", "10:00", "11:00").Replace(one))
	b.exec("OPTIMIZE TABLE weir_revisions FINAL")
	if got := read(); len(got) != 2 || !strings.Contains(got[0], "10:00") {
		t.Errorf("after a merge: %q", got)
	}
}

// TestRevisionsComeFirst takes the table away: nothing of a described revision may be stored, and nothing of it is lost.
func TestRevisionsComeFirst(t *testing.T) {
	b := newBed(t)
	b.sink.Describe(sink.Revision{Revision: 5, Spec: "{}", Started: time.Now()})
	b.exec("DROP TABLE weir_revisions")
	cut := b.cut(source{rev: 5}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	var e *sink.Error
	if err := b.sink.Write(b.ctx(), []*sink.Cut{cut}); !errors.As(err, &e) || e.Class != sink.Stop || !strings.Contains(err.Error(), "table weir_revisions is missing") {
		t.Errorf("got %v", err)
	}
	if got := b.ask("SELECT toString((SELECT count() FROM temps_partials) + (SELECT count() FROM weir_coverage))")[0]; got != "0" {
		t.Errorf("%s rows are stored without their revision", got)
	}
	b.apply()
	b.write(cut)
	if got := b.ask("SELECT concat(toString((SELECT count() FROM temps_partials)), toString((SELECT count() FROM weir_revisions)))")[0]; got != "11" {
		t.Errorf("stored %s", got)
	}
}
