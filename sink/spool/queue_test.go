package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/ingest/batch"
)

// readAll reads the rows of a view, some at a time, behind the oldest that wait.
func readAll(t *testing.T, l *Lane, skip int) (starts []int64, hashes []uint64) {
	t.Helper()
	v, err := l.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for v.Skip(skip); ; {
		b, err := v.Rows(3)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return starts, hashes
		}
		starts = append(starts, batch.As[int64](b.Cols[colStart].Values)[:b.Rows]...)
		hashes = append(hashes, batch.Hashes(b)...)
	}
}

// TestQueue has rows go from the groups of a lane to the queue and from there away, at random, with processes that end in between. What is read must
// be what a list and a map have, and the account must hold.
func TestQueue(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 21))
		cfg := Config{Dir: "spool", Reserve: 1 << 20, FS: vfs.NewCrashableMem()}
		s := mustOpen(t, cfg)
		id := ID{Pipeline: "a", Revision: 1}
		l := s.Lane(id, &table)
		open, waiting := map[string]group{}, []group{}
		begun := 0
		for range 60 {
			c := l.Change()
			var put, left, done []group
			for range rng.IntN(8) {
				begun++
				g := group{start: int64(begun * 10), end: int64(begun*10 + 5), rows: 1, device: fmt.Sprint("d", rng.IntN(3)), site: int16(rng.IntN(2))}
				if rng.IntN(3) == 0 {
					done = append(done, g) // it never was open at a cut
				} else {
					put = append(put, g)
					open[g.key()] = g
				}
			}
			for _, key := range slices.Sorted(func(yield func(string) bool) {
				for key := range open {
					if !yield(key) {
						return
					}
				}
			}) {
				if g := open[key]; !slices.ContainsFunc(put, func(o group) bool { return o.key() == key }) && rng.IntN(3) == 0 {
					left, done = append(left, g), append(done, g)
					delete(open, key)
				}
			}
			if rows := rowsOf(left); len(left) > 0 {
				c.DropRows(rows, batch.Hashes(rows))
			}
			c.DropRows(nil, nil)
			if rows := rowsOf(put); len(put) > 0 {
				c.Put(rows, batch.Hashes(rows), make([]uint64, len(put)))
			}
			// A part of a batch waits: what is before it does not.
			ahead := rng.IntN(3)
			c.Queue(rowsOf(append(make([]group, ahead), done...)), ahead)
			gone := rng.IntN(len(waiting) + 1)
			c.DropQueued(gone)
			if rng.IntN(8) == 0 {
				for _, g := range put {
					delete(open, g.key())
				}
				for _, g := range left {
					open[g.key()] = g
				}
				c.Discard()
			} else {
				waiting = append(waiting[gone:], done...)
				if err := c.Commit([]byte("meta")); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(4) == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = mustOpen(t, cfg)
				l = s.Lane(id, &table)
				rows := 0
				if _, err := l.Load(func(_ []byte, b *batch.Batch, _ []uint64) error { rows += b.Rows; return nil }); err != nil || rows != len(open) {
					t.Fatalf("seed %d: loaded %d open rows of %d: %v", seed, rows, len(open), err)
				}
			}
			skip := rng.IntN(len(waiting) + 1)
			starts, hashes := readAll(t, l, skip)
			want := slices.Clone(waiting[skip:])
			rest := make([]group, 0, len(open))
			for _, g := range open {
				rest = append(rest, g)
			}
			slices.SortFunc(rest, func(a, b group) int { return int(a.start - b.start) })
			want = append(want, rest...)
			if len(starts) != len(want) || l.Entries() != len(open)+len(waiting) {
				t.Fatalf("seed %d: %d rows and %d entries; want %d, %d open and %d that wait", seed, len(starts), l.Entries(), len(want), len(open), len(waiting))
			}
			if len(want) > 0 && !slices.Equal(hashes, batch.Hashes(rowsOf(want))) {
				t.Fatalf("seed %d: the rows that start at %v", seed, starts)
			}
		}
		all, err := s.Contents()
		if err != nil || len(all) != 1 || all[0].Rows != int64(len(open)+len(waiting)) {
			t.Errorf("seed %d: %+v, %v", seed, all, err)
		}
		if err := l.Clear(); err != nil {
			t.Fatal(err)
		}
		if starts, _ := readAll(t, l, 0); len(starts) > 0 {
			t.Errorf("seed %d: %d rows are left of what was cleared", seed, len(starts))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQueueOfClearedLane begins to save after everything was cleared: whatever was saved before, nothing of it has to go.
func TestQueueOfClearedLane(t *testing.T) {
	s := mustOpen(t, Config{Dir: "spool", Reserve: 1 << 20, FS: vfs.NewCrashableMem()})
	defer s.Close()
	id := ID{Pipeline: "a", Revision: 1}
	l := s.Lane(id, &table)
	rows := rowsOf([]group{{start: 10, end: 20, rows: 1, device: "x"}, {start: 20, end: 30, rows: 1, device: "y"}})
	c := l.Change()
	c.DropRows(rows, []uint64{1, 2})
	c.Put(rows, batch.Hashes(rows), []uint64{3, 4})
	if err := c.Commit([]byte("meta")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lane(id, &table).Load(nil); err != nil {
		t.Error(err)
	}
}

// TestQueueDamaged misses rows that wait.
func TestQueueDamaged(t *testing.T) {
	for what, damage := range map[string]func(b *Batch, l *Lane, key []byte){
		"one is gone": func(b *Batch, l *Lane, key []byte) { b.Delete(key) },
		"one has another number": func(b *Batch, l *Lane, key []byte) {
			value, err := l.s.Get(key)
			if err != nil {
				t.Fatal(err)
			}
			b.Delete(key)
			at := len(l.key(keyQueue))
			binary.BigEndian.PutUint64(key[at:], 77)
			b.Set(key, value)
		},
		"one has no number": func(b *Batch, l *Lane, key []byte) { b.Set(l.key(keyQueue), nil) },
		"another is there": func(b *Batch, l *Lane, key []byte) {
			b.Set(append(l.queueKey(4), key[len(l.key(keyQueue))+8:]...), []byte("x"))
		},
	} {
		s := mustOpen(t, Config{Dir: "spool", Reserve: 1 << 20, FS: vfs.NewCrashableMem()})
		id := ID{Pipeline: "a", Revision: 1}
		l := s.Lane(id, &table)
		c := l.Change()
		c.Queue(rowsOf([]group{{start: 10, device: "x"}, {start: 20, device: "x"}, {start: 30, device: "y"}, {start: 40, device: "z"}}), 0)
		if err := c.Commit([]byte("meta")); err != nil {
			t.Fatal(err)
		}
		n := 0
		var second []byte
		if err := s.Scan(l.key(keyQueue), nil, func(key, _ []byte) bool {
			if n++; n == 2 {
				second = slices.Clone(key)
			}
			return true
		}); err != nil || n != 4 {
			t.Fatalf("%d rows wait, %v", n, err)
		}
		b := s.Batch()
		damage(b, l, second)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Lane(id, &table).Load(nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFormatBefore takes a store over that has no rows that wait, because the weir that wrote it knew of none.
func TestFormatBefore(t *testing.T) {
	cfg := Config{Dir: "spool", Reserve: 1 << 20, FS: vfs.NewCrashableMem()}
	s := mustOpen(t, cfg)
	id := ID{Pipeline: "a", Revision: 1}
	put(t, s.Lane(id, &table), "meta", 2, group{start: 10, end: 20, rows: 1, device: "x"})
	b := s.Batch()
	b.Set([]byte{keyFormat}, binary.BigEndian.AppendUint32(nil, 2))
	if err := errors.Join(b.Commit(), s.Close()); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg)
	defer s.Close()
	l := s.Lane(id, &table)
	if meta, err := l.Load(nil); err != nil || string(meta) != "meta" || l.Entries() != 3 {
		t.Errorf("%s, %d entries, %v", meta, l.Entries(), err)
	}
	if v, err := s.Get([]byte{keyFormat}); err != nil || binary.BigEndian.Uint32(v) != format {
		t.Errorf("format %v, %v", v, err)
	}
}
