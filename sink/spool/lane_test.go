package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

var table = sink.Table{
	Keys: []batch.Field{{Name: "device", Type: batch.Type{Kind: batch.String}, Nullable: true}, {Name: "site", Type: batch.Type{Kind: batch.Int16}}},
	Aggregates: []sink.Aggregate{
		{States: []sink.State{{Field: batch.Field{Name: "n", Type: batch.Type{Kind: batch.Uint64}}}}},
		{States: []sink.State{{Field: batch.Field{Name: "low", Type: batch.Type{Kind: batch.Float64}, Nullable: true}}}},
		{States: []sink.State{{Field: batch.Field{Name: "any", Type: batch.Type{Kind: batch.Bool}}}}},
		{States: []sink.State{{Field: batch.Field{Name: "last", Type: batch.Type{Kind: batch.Binary}, Nullable: true}}}},
	},
}

// group is a row of the table, for people.
type group struct {
	start, end int64
	rows       uint64
	device     any // string or nil
	site       int16
	n          uint64
	low        any
	any        bool
	last       any
}

func (g *group) key() string { return fmt.Sprintf("%d %q %d", g.start, g.device, g.site) }

// ledger has the hashes of the rows of a lane, by their windows and keys.
type ledger map[string]uint64

// replace notes rows, and gives what Put is to be told of them.
func (l ledger) replace(groups []group, rows *batch.Batch) (hashes, before []uint64) {
	hashes, before = batch.Hashes(rows), make([]uint64, rows.Rows)
	for i := range groups {
		key := groups[i].key()
		before[i], l[key] = l[key], hashes[i]
	}
	return hashes, before
}

// drop forgets a window, and gives what DropWindow is to be told of it.
func (l ledger) drop(start int64) (of sink.Sum) {
	for key, h := range l {
		if strings.HasPrefix(key, fmt.Sprint(start, " ")) {
			of.Add(h)
			delete(l, key)
		}
	}
	return of
}

// putRows commits rows.
func putRows(t testing.TB, lane *Lane, saved ledger, groups ...group) {
	t.Helper()
	rows := rowsOf(groups)
	hashes, before := saved.replace(groups, rows)
	c := lane.Change()
	c.Put(rows, hashes, before)
	if err := c.Commit([]byte("meta")); err != nil {
		t.Fatal(err)
	}
}

// rowsOf makes a cut of groups, column by column and without the code under test.
func rowsOf(groups []group) *batch.Batch {
	b := &batch.Batch{Schema: table.Schema(), Rows: len(groups)}
	b.SetWidth(len(b.Schema.Fields))
	column := func(f int, fixed func(g *group) any, variable func(g *group) any) {
		c := &b.Cols[f]
		var offsets []int32
		validity := make([]byte, batch.BitmapLen(len(groups)))
		bits := make([]byte, batch.BitmapLen(len(groups)))
		offsets = append(offsets, 0)
		for i := range groups {
			var v any
			if variable != nil {
				v = variable(&groups[i])
			} else {
				v = fixed(&groups[i])
			}
			if v == nil {
				c.Nulls++
				if variable == nil {
					c.Values = append(c.Values, batch.Bytes([]float64{12345})...) // what lies under a null is anything
				}
			} else {
				batch.SetBit(validity, i)
			}
			switch v := v.(type) {
			case int64:
				c.Values = append(c.Values, batch.Bytes([]int64{v})...)
			case uint64:
				c.Values = append(c.Values, batch.Bytes([]uint64{v})...)
			case int16:
				c.Values = append(c.Values, batch.Bytes([]int16{v})...)
			case float64:
				c.Values = append(c.Values, batch.Bytes([]float64{v})...)
			case bool:
				if v {
					batch.SetBit(bits, i)
				}
				c.Values = bits
			case string:
				c.Values = append(c.Values, v...)
			}
			offsets = append(offsets, int32(len(c.Values)))
		}
		if variable != nil {
			c.Offsets = batch.Bytes(offsets)
		}
		if c.Nulls > 0 {
			c.Validity = validity
		}
	}
	column(0, func(g *group) any { return g.start }, nil)
	column(1, func(g *group) any { return g.end }, nil)
	column(2, func(g *group) any { return g.rows }, nil)
	column(3, nil, func(g *group) any { return g.device })
	column(4, func(g *group) any { return g.site }, nil)
	column(5, func(g *group) any { return g.n }, nil)
	column(6, func(g *group) any { return g.low }, nil)
	column(7, func(g *group) any { return g.any }, nil)
	column(8, nil, func(g *group) any { return g.last })
	return b
}

func randomGroup(rng *rand.Rand) group {
	g := group{start: int64(rng.IntN(7)-3) * 10_000, rows: rng.Uint64(), site: int16(rng.IntN(3) - 1), n: rng.Uint64(), any: rng.IntN(2) == 0}
	g.end = g.start + 10_000
	if rng.IntN(3) > 0 {
		g.device = []string{"", "a", "b", "a\x00b", "é"}[rng.IntN(5)]
	}
	if rng.IntN(3) > 0 {
		g.low = rng.NormFloat64()
	}
	if rng.IntN(3) > 0 {
		g.last = fmt.Sprint(rng.IntN(1000))
	}
	return g
}

// render writes the rows of a batch as JSON, one for each window and key.
func render(b *batch.Batch, to map[string]string) {
	for i := range b.Rows {
		row := string(b.RowJSON(i))
		var v struct {
			Start  any `json:"window_start"`
			Device any
			Site   any
		}
		if err := json.Unmarshal([]byte(row), &v); err != nil {
			panic(err)
		}
		to[fmt.Sprint(v.Start, " ", v.Device, v.Device == nil, " ", v.Site)] = row
	}
}

// TestLane changes a lane at random, cuts the power now and then, and compares what is there with a map.
func TestLane(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	disk := vfs.NewCrashableMem()
	s := mustOpen(t, small(t, disk))
	id := ID{Pipeline: "p", Revision: 7, Partition: 3}
	other := s.Lane(ID{Pipeline: "p", Revision: 7, Partition: 4}, &table)
	lane := s.Lane(id, &table)
	want := map[string]group{}
	saved := ledger{}
	var letters []string
	states := map[string]string{}
	meta, number := "", 0
	check := func() {
		t.Helper()
		rows, loaded, expected := map[string]string{}, map[string]string{}, map[string]string{}
		got, err := lane.Load(func(early []byte, b *batch.Batch, hashes []uint64) error {
			if !slices.Equal(hashes, batch.Hashes(b)) {
				t.Fatalf("rows came with hashes %x", hashes)
			}
			if string(early) != meta {
				t.Fatalf("rows came with meta %q, want %q", early, meta)
			}
			render(b, loaded)
			return nil
		})
		if err != nil || string(got) != meta {
			t.Fatalf("meta %q, %v; want %q", got, err, meta)
		}
		view, err := lane.View()
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		for {
			b, err := view.Rows(3)
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			render(b, rows)
		}
		if b, err := view.Rows(3); b != nil || err != nil { // the end stays the end
			t.Fatalf("rows behind the end: %v, %v", b, err)
		}
		render(rowsOf(slices.Collect(maps.Values(want))), expected)
		if !maps.Equal(rows, expected) {
			t.Fatalf("rows\n%v\nwant\n%v", rows, expected)
		}
		if !maps.Equal(loaded, expected) {
			t.Fatalf("rows of Load\n%v\nwant\n%v", loaded, expected)
		}
		var have []string
		for {
			some, err := view.Letters(100)
			if err != nil {
				t.Fatal(err)
			}
			if len(some) == 0 {
				break
			}
			for _, d := range some {
				have = append(have, d.Detail)
			}
		}
		if !slices.Equal(have, letters) {
			t.Fatalf("letters %q, want %q", have, letters)
		}
		carried, err := view.States()
		if err != nil || len(carried) != len(states) {
			t.Fatalf("%d states, %v; want %d", len(carried), err, len(states))
		}
		for _, s := range carried {
			if string(s.Bytes) != states[s.Step] {
				t.Fatalf("the state of %s is %q, want %q", s.Step, s.Bytes, states[s.Step])
			}
		}
		if lane.Entries() != len(want)+len(letters)+len(states) {
			t.Fatalf("%d entries, want %d", lane.Entries(), len(want)+len(letters)+len(states))
		}
	}
	for step := range 400 {
		c := lane.Change()
		fresh := map[string]group{}
		for range rng.IntN(6) {
			g := randomGroup(rng)
			fresh[g.key()] = g
		}
		groups := slices.Collect(maps.Values(fresh))
		rows := rowsOf(groups)
		hashes, before := saved.replace(groups, rows)
		c.Put(rows, hashes, before)
		drop := int64(rng.IntN(7)-3) * 10_000
		put := slices.ContainsFunc(slices.Collect(maps.Values(fresh)), func(g group) bool { return g.start == drop })
		if dropped := rng.IntN(4) == 0 && !put; dropped {
			c.DropWindow(drop, saved.drop(drop))
			maps.DeleteFunc(want, func(_ string, g group) bool { return g.start == drop })
		}
		maps.Copy(want, fresh)
		for range rng.IntN(3) {
			letter := fmt.Sprint("letter ", number)
			number++
			c.PutLetters([]sink.DeadLetter{{Detail: letter}})
			letters = append(letters, letter)
		}
		if n := rng.IntN(4); n <= len(letters)-2 {
			c.DropLetters(n)
			letters = letters[n:]
		}
		if n := rng.IntN(4); n < 2 {
			name := fmt.Sprintf("%d wasm x", n+1)
			states[name] = strings.Repeat("state", rng.IntN(3)) // empty is a state, too
			c.PutState(name, []byte(states[name]))
		}
		meta = fmt.Sprint("step ", step)
		if err := c.Commit([]byte(meta)); err != nil {
			t.Fatal(err)
		}
		oc := other.Change()
		oc.PutLetters([]sink.DeadLetter{{Detail: "of another lane"}})
		if err := oc.Commit(nil); err != nil {
			t.Fatal(err)
		}
		if step%20 == 0 {
			next := disk.CrashClone(vfs.CrashCloneCfg{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			disk = next
			s = mustOpen(t, small(t, disk))
			lane, other = s.Lane(id, &table), s.Lane(other.id, &table)
			check()
			if _, err := other.Load(nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	ids, err := s.Lanes()
	if err != nil || len(ids) != 2 || ids[0] != id {
		t.Errorf("lanes %v, %v", ids, err)
	}
	if err := lane.Clear(); err != nil {
		t.Fatal(err)
	}
	if meta, err := lane.Load(nil); meta != nil || err != nil {
		t.Errorf("a cleared lane: %q, %v", meta, err)
	}
	if meta, err := other.Load(nil); meta == nil || err != nil {
		t.Errorf("the other lane: %q, %v", meta, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestReplaceWindows puts other rows in place of windows, in one change: some of the same key as was there, some not.
func TestReplaceWindows(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := mustOpen(t, small(t, disk))
	id := ID{Pipeline: "p", Revision: 7, Partition: 3}
	lane := s.Lane(id, &table)
	if _, err := lane.Load(nil); err != nil {
		t.Fatal(err)
	}
	fine := func(start int64, device string) group {
		return group{start: start, end: start + 10, rows: 1, device: device, n: 1}
	}
	c := lane.Change()
	put := func(groups ...group) (of sink.Sum) {
		rows := rowsOf(groups)
		hashes := batch.Hashes(rows)
		c.Put(rows, hashes, nil)
		of.Add(hashes...)
		return of
	}
	of := put(fine(0, "a"), fine(10, "a"), fine(20, "a"), fine(20, "b"), fine(30, "a"))
	if err := c.Commit([]byte("fine")); err != nil {
		t.Fatal(err)
	}
	coarse := []group{{start: 0, end: 20, rows: 2, device: "a", n: 2}, {start: 20, end: 40, rows: 3, device: "a", n: 2}, {start: 20, end: 40, rows: 1, device: "c", n: 1}}
	c = lane.Change()
	c.DropWindows(0, 40, of)
	put(coarse[:1]...)
	put(append(coarse[1:], fine(40, "a"))...)
	if err := c.Commit([]byte("coarse")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	render(rowsOf(append(coarse, fine(40, "a"))), want)
	for range 2 { // also as it was written before the power was cut
		meta, err := lane.Load(nil)
		if err != nil || string(meta) != "coarse" {
			t.Fatalf("%q, %v", meta, err)
		}
		view, err := lane.View()
		if err != nil {
			t.Fatal(err)
		}
		b, err := view.Rows(100)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		render(b, got)
		if !maps.Equal(got, want) || lane.Entries() != len(want) {
			t.Errorf("%d entries\n%v\nwant\n%v", lane.Entries(), got, want)
		}
		if err := errors.Join(view.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, small(t, disk.CrashClone(vfs.CrashCloneCfg{})))
		lane = s.Lane(id, &table)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// An entry that goes missing, or comes back, without a trace in the database is found.
func TestLaneFindsHoles(t *testing.T) {
	older := func(s *Store, key []byte) { set(t, s, string(key), "an older value") }
	gone := func(s *Store, key []byte) {
		b := s.Batch()
		b.Delete(key)
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	letter := func(l *Lane) []byte { return (&Change{l: l}).letterKey(0) }
	row := group{start: 10, end: 20, rows: 1, device: "a", n: 1}
	ofRow := func(l *Lane) []byte { return l.keysOf(rowsOf([]group{row}))[0].key }
	for name, c := range map[string]struct {
		of   func(*Lane) []byte
		harm func(s *Store, key []byte)
	}{
		"letter gone":  {letter, gone},
		"letter older": {letter, older},
		"row gone":     {ofRow, gone},
		// The row as it was, with its checksum.
		"row older": {ofRow, func(s *Store, key []byte) {
			b, was := s.Batch(), rowsOf([]group{row})
			value := appendRow(nil, table.Schema().Fields[colStart+1:colKeys], was.Cols[colStart+1:], 0)
			b.Set(key, appendRow(value, table.Schema().Fields[colKeys+2:], was.Cols[colKeys+2:], 0))
			if err := b.Commit(); err != nil {
				t.Fatal(err)
			}
		}},
		"nothing": {letter, func(*Store, []byte) {}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, small(t, vfs.NewMem()))
			defer s.Close()
			lane := s.Lane(ID{Pipeline: "p"}, &table)
			saved := ledger{}
			put(t, lane, "meta", 2)
			for n := range uint64(2) {
				row.n = n + 1
				putRows(t, lane, saved, row, group{start: 10, end: 20, rows: 1, device: "b", n: n})
			}
			row.n = 1
			c.harm(s, c.of(lane))
			if _, err := lane.Load(nil); errors.Is(err, ErrDamaged) == (name == "nothing") {
				t.Errorf("load: %v", err)
			}
		})
	}
}

// TestFirstFormat opens a store that has the sums of the first format, finds what is missing there, and goes on in the present one.
func TestFirstFormat(t *testing.T) {
	disk := vfs.NewCrashableMem()
	s := mustOpen(t, small(t, disk))
	lane, holed := s.Lane(ID{Pipeline: "p"}, &table), s.Lane(ID{Pipeline: "q"}, &table)
	saved := ledger{}
	some := []group{{start: 10, end: 20, rows: 1, device: "a", n: 1}, {start: 10, end: 20, rows: 2, device: "b", n: 2}}
	for _, l := range []*Lane{lane, holed} {
		saved = ledger{}
		putRows(t, l, saved, some...)
		// As it was written then.
		have, err := l.check(0, func(*batch.Batch, []uint64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		head := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, have.checks), have.entries)
		b := s.Batch()
		b.Set(l.key(keyMeta), append(append(head, make([]byte, 16)...), "first"...))
		b.Set([]byte{keyFormat}, []byte{0, 0, 0, 1})
		if l == holed {
			b.Delete(l.keysOf(rowsOf(some[:1]))[0].key)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		s = mustOpen(t, small(t, disk))
		if v, err := s.Get([]byte{keyFormat}); err != nil || !bytes.Equal(v, []byte{0, 0, 0, format}) {
			t.Errorf("the format is %x, %v", v, err)
		}
		lane = s.Lane(lane.id, &table)
		if meta, err := lane.Load(nil); err != nil || string(meta) != []string{"first", "meta"}[round] {
			t.Errorf("round %d: %q, %v", round, meta, err)
		}
		if _, err := s.Lane(holed.id, &table).Load(nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("a row is missing: %v", err)
		}
		putRows(t, lane, saved, some[1], group{start: 20, end: 30, rows: 1, device: "a", n: 1})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzRow(f *testing.F) {
	for seed := range uint64(20) {
		g := randomGroup(rand.New(rand.NewPCG(seed, 1)))
		b := rowsOf([]group{g})
		f.Add(appendRow(nil, b.Schema.Fields, b.Cols, 0))
	}
	fields := table.Schema().Fields
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRowsReader(fields)
		rest, err := r.add(0, len(fields), data)
		if err != nil {
			return
		}
		r.rows++
		b := r.batch(table.Schema())
		again := appendRow(nil, fields, b.Cols, 0)
		r2 := newRowsReader(fields)
		if left, err := r2.add(0, len(fields), again); err != nil || len(left) != 0 {
			t.Fatalf("%x: written again %x: %v", data[:len(data)-len(rest)], again, err)
		}
		b.RowJSON(0)
	})
}

func BenchmarkPut(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := mustOpen(b, Config{Dir: b.TempDir() + "/spool", Reserve: 1 << 20})
			defer s.Close()
			lane := s.Lane(ID{Pipeline: "p"}, &table)
			groups := make([]group, n)
			for i := range groups {
				groups[i] = group{start: 0, end: 10_000, rows: 1, device: fmt.Sprint("device-", i), n: 1, low: 1.5}
			}
			rows := rowsOf(groups)
			b.ResetTimer()
			hashes, before := batch.Hashes(rows), []uint64(nil)
			for range b.N {
				c := lane.Change()
				c.Put(rows, hashes, before)
				before = hashes
				if err := c.Commit([]byte("meta")); err != nil {
					b.Fatal(err)
				}
			}
			st := s.Stats()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/group")
			b.ReportMetric(float64(st.Written)/float64(st.Logical), "written/logical")
		})
	}
}

// TestLoadRows loads more rows than come at a time.
func TestLoadRows(t *testing.T) {
	s := mustOpen(t, small(t, vfs.NewCrashableMem()))
	defer func() { _ = s.Close() }()
	lane := s.Lane(ID{Pipeline: "p"}, &table)
	want := make([]group, 2*loadRows+10)
	for i := range want {
		want[i] = group{start: int64(i/5000) * 10_000, end: int64(i/5000)*10_000 + 10_000, rows: uint64(i), device: fmt.Sprint(i), n: uint64(i), low: float64(i), any: true, last: fmt.Sprint(-i)}
	}
	ch := lane.change()
	rows := rowsOf(want)
	ch.Put(rows, batch.Hashes(rows), nil)
	if err := ch.Commit([]byte("meta")); err != nil {
		t.Fatal(err)
	}
	got, expected, times := map[string]string{}, map[string]string{}, 0
	render(rowsOf(want), expected)
	if _, err := lane.Load(func(_ []byte, b *batch.Batch, _ []uint64) error { times++; render(b, got); return nil }); err != nil {
		t.Fatal(err)
	}
	if times != 3 || !maps.Equal(got, expected) {
		t.Errorf("%d rows came in %d calls, want %d in 3, and the same", len(got), times, len(want))
	}
	refused := errors.New("refused")
	if _, err := lane.Load(func([]byte, *batch.Batch, []uint64) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("rows were refused, and Load gives %v", err)
	}
}

// TestDropManyLetters drops more dead letters than are looked up one by one, and then all of them.
func TestDropManyLetters(t *testing.T) {
	s := mustOpen(t, small(t, vfs.NewCrashableMem()))
	defer func() { _ = s.Close() }()
	lane := s.Lane(ID{Pipeline: "p"}, &table)
	commit := func(f func(ch *Change), left ...int64) {
		t.Helper()
		ch := lane.change()
		f(ch)
		if err := ch.Commit([]byte("meta")); err != nil {
			t.Fatal(err)
		}
		again := s.Lane(ID{Pipeline: "p"}, &table)
		if _, err := again.Load(nil); err != nil {
			t.Fatal(err) // the account of all entries would be wrong
		}
		view, err := again.View()
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		letters, err := view.Letters(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		var have []int64
		for _, d := range letters {
			have = append(have, d.Offset)
		}
		if !slices.Equal(have, left) {
			t.Fatalf("letters of offsets %v are left, want %v", have, left)
		}
	}
	all := make([]sink.DeadLetter, 60)
	offsets := make([]int64, len(all))
	for i := range all {
		all[i].Offset, offsets[i] = int64(i), int64(i)
	}
	commit(func(ch *Change) { ch.PutLetters(all) }, offsets...)
	commit(func(ch *Change) { ch.DropLetters(17) }, offsets[17:]...)
	commit(func(ch *Change) { ch.DropLetters(3) }, offsets[20:]...)
	commit(func(ch *Change) { ch.DropLetters(100) })
}
