package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

func put(t *testing.T, l *Lane, meta string, letters int, groups ...group) {
	t.Helper()
	c := l.Change()
	rows := rowsOf(groups)
	c.Put(rows, batch.Hashes(rows), nil)
	c.PutLetters(make([]sink.DeadLetter, letters))
	if err := c.Commit([]byte(meta)); err != nil {
		t.Fatal(err)
	}
}

// TestContents lists what is stored, in a store that is in use and in one that is only looked at.
func TestContents(t *testing.T) {
	cfg := Config{Dir: filepath.Join(t.TempDir(), "spool"), Reserve: 1 << 20}
	if _, err := OpenReadOnly(cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store that is not there: %v", err)
	}
	s := mustOpen(t, cfg)
	one, two := ID{Pipeline: "a", Revision: 1, Partition: 2}, ID{Pipeline: "b", TopicID: [16]byte{9}}
	put(t, s.Lane(one, &table), "first", 3,
		group{start: -10, end: 0, rows: 1, device: "x"}, group{start: 50, end: 60, rows: 1, device: nil}, group{start: 20, end: 30, rows: 1, device: "y"})
	put(t, s.Lane(two, &table), "second", 0)
	check := func(what string, s *Store) {
		t.Helper()
		all, err := s.Contents()
		if err != nil || len(all) != 2 {
			t.Fatalf("%s: %+v, %v", what, all, err)
		}
		c := all[0]
		if c.ID != one || string(c.Meta) != "first" || c.Rows != 3 || c.Letters != 3 || c.FirstWindow != -10 || c.LastWindow != 50 || c.Bytes < 200 || c.Columns != table.Schema().String() {
			t.Errorf("%s: %+v", what, c)
		}
		if c := all[1]; c.ID != two || string(c.Meta) != "second" || c.Rows+c.Letters+c.FirstWindow+c.Bytes != 0 {
			t.Errorf("%s: %+v", what, c)
		}
	}
	check("in use", s)
	if _, err := OpenReadOnly(cfg); !errors.Is(err, ErrLocked) {
		t.Errorf("while it is used: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // looking changes nothing
		s, err := OpenReadOnly(cfg)
		if err != nil {
			t.Fatal(err)
		}
		check("looked at", s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	if err := s.Drop(one); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Contents(); err != nil || len(all) != 1 || all[0].ID != two {
		t.Errorf("%+v, %v", all, err)
	}
	if err := s.Scan(one.append([]byte{keyColumns}), nil, func(key, _ []byte) bool {
		t.Errorf("left behind: %x", key)
		return true
	}); err != nil {
		t.Error(err)
	}
}

// TestLaneOfOtherColumns opens a lane for a table whose columns have the same types and other names: its rows would be taken
// for those of other columns.
func TestLaneOfOtherColumns(t *testing.T) {
	s := mustOpen(t, Config{Dir: filepath.Join(t.TempDir(), "spool"), Reserve: 1 << 20})
	defer s.Close()
	id := ID{Pipeline: "a", Revision: 1}
	put(t, s.Lane(id, &table), "meta", 0, group{start: 10, end: 20, rows: 1, device: "x"})
	if meta, err := s.Lane(id, &table).Load(nil); err != nil || string(meta) != "meta" {
		t.Fatalf("%s, %v", meta, err)
	}
	other := table
	other.Aggregates = append([]sink.Aggregate(nil), table.Aggregates...)
	other.Aggregates[0] = sink.Aggregate{States: []sink.State{{Field: batch.Field{Name: "m", Type: batch.Type{Kind: batch.Uint64}}}}}
	if _, err := s.Lane(id, &other).Load(nil); err == nil || !strings.Contains(err.Error(), "was saved with the columns (window_start: timestamp[ms]") {
		t.Errorf("%v", err)
	}
	// What is cleared may be filled anew.
	l := s.Lane(id, &other)
	if err := l.Clear(); err != nil {
		t.Fatal(err)
	}
	put(t, l, "new", 0)
	if meta, err := s.Lane(id, &other).Load(nil); err != nil || string(meta) != "new" {
		t.Errorf("%s, %v", meta, err)
	}
}
