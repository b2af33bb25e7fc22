package window

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// kept is what a local store has of windows of one key each: the rows of those that are open.
type kept map[string]struct {
	row  *batch.Batch
	hash uint64
}

// take makes the change of a cut, and holds it to what operators.Keyed says.
func (k kept) take(t *testing.T, cut *operators.Cut, key func(b *batch.Batch, i int) string) {
	t.Helper()
	if cut.Left != nil {
		for i := range cut.Left.Rows {
			name := key(cut.Left, i)
			if have, ok := k[name]; !ok || have.hash != cut.LeftHashes[i] {
				t.Fatalf("%s leaves with the hash %x, and is kept %t with %x", name, cut.LeftHashes[i], ok, have.hash)
			}
			delete(k, name)
		}
	}
	if cut.Rows != nil {
		hashes := batch.Hashes(cut.Rows)
		for i := range cut.Rows.Rows {
			name := key(cut.Rows, i)
			have, ok := k[name]
			if i >= cut.Stay {
				if ok {
					t.Fatalf("%s is kept, and only waits", name)
				}
				continue
			}
			if hashes[i] != cut.Hashes[i] || cut.Before[i] != have.hash {
				t.Fatalf("%s has the hash %x, and had %x; is %x, and was %x", name, cut.Hashes[i], cut.Before[i], hashes[i], have.hash)
			}
			have.row, have.hash = one(cut.Rows, i), hashes[i]
			k[name] = have
		}
	}
	sum := uint64(0)
	for _, row := range k {
		sum += row.hash
	}
	if sum != cut.OpenHash {
		t.Fatalf("the rows that are kept have the hash %x, and the open windows %x", sum, cut.OpenHash)
	}
}

// one is a row of a batch on its own.
func one(b *batch.Batch, i int) *batch.Batch {
	row := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
	var heap batch.Arena
	row.Gather([]int32{int32(i)}, &heap)
	return row
}

// load gives another window what is kept.
func (k kept) load(t *testing.T, w operators.Window, clock operators.Clock, open []operators.OpenWindow) {
	t.Helper()
	for _, row := range k {
		if err := w.Load(row.row, []uint64{row.hash}, open); err != nil {
			t.Fatal(err)
		}
	}
	w.Restore(clock, operators.Clock{Max: operators.Unset})
	if r, ok := w.(operators.Replaying); ok {
		r.EndReplay()
	}
	if w.Windows() != len(k) || w.Dirty() != 0 {
		t.Fatalf("%d windows are loaded, %d of them dirty, and %d are kept", w.Windows(), w.Dirty(), len(k))
	}
}

// shipped is what a cut ships, in no order.
func shipped(cut *operators.Cut) string {
	var all [3][]uint64
	for i, b := range []*batch.Batch{cut.Rows, cut.Over, cut.Final} {
		if b != nil {
			all[i] = batch.Hashes(b)
			slices.Sort(all[i])
		}
	}
	return fmt.Sprintf("%x, final %x, open %x with %d rows", all, cut.FinalHash, cut.OpenHash, cut.OpenRows)
}

// TestKeyedLoad has windows of one key each stop at random moments, and others go on with what was kept of them. Whoever never stopped must
// ship the same. A replay may begin earlier, but not later, and never earlier than it did before.
func TestKeyedLoad(t *testing.T) {
	for _, kind := range []struct {
		name string
		// make gives the windows of a seed, what brings rows into batches for them, and the key of a row beside its window.
		make func(t *testing.T, seed uint64) (cfg *Config, batches func(rows []row, first int64) *batch.Batch, key func(b *batch.Batch, i int) string)
	}{
		{"sessions", func(t *testing.T, seed uint64) (*Config, func([]row, int64) *batch.Batch, func(*batch.Batch, int) string) {
			cfg := sessionConfig(t, seed)
			return cfg, func(rows []row, first int64) *batch.Batch { return makeBatch(cfg.In, rows, first) }, keyText
		}},
		{"counts", func(t *testing.T, seed uint64) (*Config, func([]row, int64) *batch.Batch, func(*batch.Batch, int) string) {
			step, cfg := countConfig(t, seed)
			op, err := step.Open(t.Context(), operators.Env{})
			if err != nil {
				t.Fatal(err)
			}
			return cfg, func(rows []row, first int64) *batch.Batch {
					b := makeBatch(step.In(), rows, first)
					if err := op.Process(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					return b
				}, func(b *batch.Batch, i int) string {
					return fmt.Sprintf("%s|%d", keyText(b, i), batch.As[uint64](b.Cols[5].Values)[i])
				}
		}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			loads, taken, far := 0, 0, int64(0)
			for seed := range uint64(96) {
				rng := rand.New(rand.NewPCG(seed, 17))
				cfg, batches, key := kind.make(t, seed)
				rows := stream(rng, 900)
				through, w, store := cfg.Open(), cfg.Open(), kept{}
				began := int64(0)
				for i := 0; i < len(rows); {
					n := min(1+rng.IntN(40), len(rows)-i)
					b := batches(rows[i:i+n], int64(i))
					again := *b
					again.Rejects = nil
					if want, got := add(t, through, b, int64(i)), add(t, w, &again, int64(i)); want != got {
						t.Fatalf("seed %d, %d: %+v, and %+v where nothing was loaded", seed, i, got, want)
					}
					if i += n; rng.IntN(2) > 0 && i < len(rows) {
						continue
					}
					waits := rng.IntN(2) == 0
					if rng.IntN(20) == 0 { // a lane that ends ships everything
						through.Touch()
						w.Touch()
					}
					through.(operators.Keyed).Keep(true, waits)
					w.(operators.Keyed).Keep(true, waits)
					whole, cut := through.Cut(int64(i)), w.Cut(int64(i))
					if want, got := shipped(&whole), shipped(&cut); want != got {
						t.Fatalf("seed %d, %d: shipped %s, and should be %s", seed, i, got, want)
					}
					if cut.ReplayFrom > whole.ReplayFrom || cut.ReplayFrom < began {
						t.Fatalf("seed %d: at %d a replay begins at %d, it began at %d before, and where nothing was loaded at %d", seed, i, cut.ReplayFrom, began, whole.ReplayFrom)
					}
					if cut.Left != nil {
						taken += cut.Left.Rows
					}
					began = cut.ReplayFrom
					far = max(far, whole.ReplayFrom-began)
					store.take(t, &cut, key)
					if rng.IntN(2) == 0 {
						continue
					}
					next := cfg.Open()
					store.load(t, next, w.Clock(), cut.Open)
					next.(operators.Keyed).Keep(true, waits)
					if empty := next.Cut(int64(i)); empty.Rows != nil || empty.Left != nil || empty.Over != nil || empty.ReplayFrom != cut.ReplayFrom || empty.Replay != cut.Replay {
						t.Fatalf("seed %d: a cut after loading: %+v, was %+v", seed, empty, cut)
					}
					w = next
					loads++
				}
			}
			if loads < 200 || taken < 1000 {
				t.Errorf("only %d loads, and %d rows that left", loads, taken)
			}
			t.Logf("%d loads, %d rows that left; replays began up to %d records earlier than they had to", loads, taken, far)
		})
	}
}

// TestKeyedLoadRefuses loads what cannot be.
func TestKeyedLoadRefuses(t *testing.T) {
	cfg := sessionConfig(t, 0)
	w := cfg.Open()
	add(t, w, makeBatch(cfg.In, []row{{ts: 1000, device: "a"}, {ts: 1100, device: "b"}}, 0), 0)
	w.(operators.Keyed).Keep(true, false)
	cut := w.Cut(2)
	step, of := countConfig(t, 2)
	l := newLife(t, step, of, nil, operators.Clock{Max: operators.Unset}, operators.Clock{Max: operators.Unset})
	l.add(t, step, []row{{ts: 1000, device: "a"}, {ts: 1100, device: "b"}}, 0)
	l.w.Keep(true, false)
	counted := l.w.Cut(2)
	for _, c := range []struct {
		cfg *Config
		cut operators.Cut
	}{{cfg, cut}, {of, counted}} {
		for what, load := range map[string]func(w operators.Window) error{
			"twice": func(w operators.Window) error {
				if err := w.Load(c.cut.Rows, c.cut.Hashes, c.cut.Open); err != nil {
					t.Fatal(err)
				}
				return w.Load(c.cut.Rows, c.cut.Hashes, c.cut.Open)
			},
			"other columns": func(w operators.Window) error {
				return w.Load(&batch.Batch{Schema: c.cfg.In}, nil, c.cut.Open)
			},
			"no place to build from": func(w operators.Window) error { return w.Load(c.cut.Rows, c.cut.Hashes, nil) },
			"places in no order": func(w operators.Window) error {
				return w.Load(c.cut.Rows, c.cut.Hashes, []operators.OpenWindow{{Start: 1, Offset: 5}, {Start: 2, Offset: 5}})
			},
		} {
			if err := load(c.cfg.Open()); err == nil {
				t.Errorf("%s: loaded", what)
			} else {
				t.Logf("%s: %v", what, err)
			}
		}
	}
}

// TestOriginsAreFew thins places out, and puts windows where they can be built from.
func TestOriginsAreFew(t *testing.T) {
	var o origins
	for i := range int64(10_000) {
		o.batch(i, operators.Clock{Max: i*1000 - 1})
		o.hold()
	}
	some := o.some(10_000)
	if len(some) > someOrigins+1 || some[0].Offset != 0 {
		t.Fatalf("%d places from %d on", len(some), some[0].Offset)
	}
	var loaded origins
	if err := loaded.load(some); err != nil {
		t.Fatal(err)
	}
	for start := range int64(10_000) {
		at, err := loaded.holdFrom(some, start)
		if err != nil {
			t.Fatal(err)
		}
		if from := loaded.all[at].offset; from > start || start-from > 10_000/someOrigins+1 {
			t.Fatalf("a window at %d is built from %d on", start, from)
		}
	}
}
