package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/edge-node/torture"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// image is what is on a disk.
type image struct {
	files map[string][]byte
	kinds map[string][]string // names of those that are not empty, by kind
	last  uint64              // how many changes were committed
}

func kindOf(name string) string {
	switch {
	case isTable(name):
		return "table"
	case strings.HasSuffix(name, ".log"):
		return "log"
	case strings.HasPrefix(name, "MANIFEST-"):
		return "manifest"
	case strings.HasPrefix(name, "OPTIONS-"):
		return "options"
	}
	return name // our own
}

func imageOf(t testing.TB, disk *vfs.MemFS) *image {
	im := &image{files: map[string][]byte{}, kinds: map[string][]string{}}
	names, err := disk.List("store")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == ballastFile || name == "LOCK" {
			continue
		}
		data, err := readFile(disk, disk.PathJoin("store", name), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		im.files[name] = data
		if k := kindOf(name); len(data) > 0 {
			im.kinds[k] = append(im.kinds[k], name)
		}
	}
	return im
}

// worn is the disk of a store that was opened, flushed, compacted and killed some times.
func worn(t testing.TB, rng *rand.Rand) (im *image) {
	disk := vfs.NewCrashableMem()
	i := uint64(0)
	for range 1 + rng.IntN(4) {
		s := mustOpen(t, small(t, disk))
		lane := s.Lane(ID{Pipeline: "p"}, &table)
		if _, err := lane.Load(nil); err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(120) {
			change(t, lane, &i)
			switch rng.IntN(30) {
			case 0:
				if err := s.db.Flush(); err != nil {
					t.Fatal(err)
				}
			case 1:
				if err := s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false); err != nil {
					t.Fatal(err)
				}
			}
		}
		disk = killed(disk)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	im = imageOf(t, disk)
	im.last = i
	return im
}

// killed is a disk as the next process finds it.
func killed(disk *vfs.MemFS) *vfs.MemFS {
	return disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// The rows of changes: each puts one, nine in a window, of which four have the same key as one before. Three windows stay.
const perWindow, keysPerWindow, windows = 9, 5, 3

func rowOf(i uint64) group {
	start := int64(i/perWindow) * 10
	return group{start: start, end: start + 10, rows: 1, device: string(rune('a' + i%perWindow%keysPerWindow)), n: i, last: string(pair(i))}
}

// change commits a row and a dead letter, and drops some now and then.
func change(t testing.TB, lane *Lane, i *uint64) {
	c := lane.Change()
	row := rowsOf([]group{rowOf(*i)})
	before := []uint64{0}
	if *i%perWindow >= keysPerWindow {
		before = batch.Hashes(rowsOf([]group{rowOf(*i - keysPerWindow)}))
	}
	c.Put(row, batch.Hashes(row), before)
	if w := *i / perWindow; *i%perWindow == 0 && w >= windows {
		gone := rowsIn(w - windows)
		of := sink.Sum{}
		of.Add(batch.Hashes(rowsOf(gone))...)
		c.DropWindow(gone[0].start, of)
	}
	if *i%3 == 0 {
		c.DropLetters(1)
	}
	c.PutLetters([]sink.DeadLetter{{Offset: int64(*i), Payload: pair(*i)}})
	if err := c.Commit(binary.BigEndian.AppendUint64(nil, *i)); err != nil {
		t.Fatal(err)
	}
	*i++
}

// rowsIn are the rows of a window when all its changes were made.
func rowsIn(w uint64) (rows []group) {
	for i := uint64(perWindow - keysPerWindow); i < perWindow; i++ {
		rows = append(rows, rowOf(w*perWindow+i))
	}
	return rows
}

// flip is a bit of a file.
type flip struct {
	name string
	at   int
	bit  byte
}

// disk is the image with bits turned.
func (im *image) disk(t testing.TB, flips []flip) *vfs.MemFS {
	disk := vfs.NewCrashableMem()
	if err := disk.MkdirAll("store", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range im.files {
		data = bytes.Clone(data)
		for _, f := range flips {
			if f.name == name {
				data[f.at] ^= f.bit
			}
		}
		if err := writeFile(disk, disk.PathJoin("store", name), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(syncDir(disk, "store"), syncDir(disk, "")); err != nil {
		t.Fatal(err)
	}
	return disk
}

// TestBitFlips turns bits in every kind of file that a store has, and lets three processes use it one after another: each reads all,
// writes, flushes, compacts, and is killed. What is read is what was written, or an error, or a store that was set aside. Nothing
// panics, and nothing is tried forever. Only rot in the log may give the whole of what a lane had been before some of its last
// changes: Pebble cannot tell it from a write that the power cut short.
func TestBitFlips(t *testing.T) {
	n := trials(150, 10_000)
	rng := rand.New(rand.NewPCG(5, 5))
	outcomes := map[string]int{}
	var im *image
	for i := range n {
		if i%50 == 0 {
			synctest.Test(t, func(t *testing.T) { im = worn(t, rng) })
		}
		var kinds []string
		for k := range im.kinds {
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		flips := make([]flip, 1)
		if rng.IntN(4) == 0 {
			flips = make([]flip, 2+rng.IntN(3))
		}
		hit := ""
		for j := range flips {
			hit = kinds[rng.IntN(len(kinds))]
			name := im.kinds[hit][rng.IntN(len(im.kinds[hit]))]
			flips[j] = flip{name, rng.IntN(len(im.files[name])), byte(1) << rng.IntN(8)}
		}
		if len(flips) > 1 {
			hit = "several"
		}
		if seals := im.kinds[sealFile]; rng.IntN(8) == 0 && len(seals) > 0 {
			name := slices.Max(im.kinds["manifest"]) // what was written last of it, and what would say so
			tail := min(len(im.files[name]), 100)
			flips = []flip{{seals[0], rng.IntN(sealSize), 1 << rng.IntN(8)}, {name, len(im.files[name]) - 1 - rng.IntN(tail), 1 << rng.IntN(8)}}
			hit = "the end of the manifest, and the seal"
		}
		synctest.Test(t, func(t *testing.T) {
			l := &rotten{im: im, disk: im.disk(t, flips)}
			l.run(t)
			outcome := l.outcome(hit)
			outcomes[hit+": "+outcome]++
			if strings.HasPrefix(outcome, "wrong") {
				t.Errorf("%+v: %s, %s", flips, outcome, l.happened)
			}
		})
	}
	var lines []string
	wrong := 0
	for outcome, n := range outcomes {
		if strings.Contains(outcome, ": wrong") {
			wrong += n
		}
		lines = append(lines, fmt.Sprintf("%6d  %s", n, outcome))
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[6:], b[6:]) })
	t.Logf("%d times bits were turned:\n%s", n, strings.Join(lines, "\n"))
	torture.Record(t, "turned bits: neither found nor harmless", float64(wrong), fmt.Sprintf("of %d stores", n), 0, "one to four bits in any file")
}

// rotten is a store with turned bits, over some processes.
type rotten struct {
	im       *image
	disk     *vfs.MemFS
	happened []string

	aside, found, gaveUp, earlier bool
}

func (l *rotten) note(what string, err error) {
	l.happened = append(l.happened, fmt.Sprintf("%s: %v", what, err))
}

// outcome sums up what happened.
func (l *rotten) outcome(kind string) string {
	last := ""
	if len(l.happened) > 0 {
		last = l.happened[len(l.happened)-1]
	}
	switch {
	case strings.HasPrefix(last, "wrong"):
		return last
	case l.gaveUp && !l.aside:
		return "wrong: given up, and not set aside"
	case l.earlier && (kind == "manifest" || kind == "table" || kind == "options"):
		return "wrong: an earlier state"
	case l.found && kind == "manifest":
		return "wrong: found only by reading all"
	case l.aside:
		return "set aside"
	case l.found:
		return "found in the partition"
	case l.earlier:
		return "an earlier state"
	}
	return "harmless"
}

func (l *rotten) run(t *testing.T) {
	const processes = 3
	last := l.im.last
	for range processes {
		var good bool
		if last, good = l.process(t, last); !good {
			return
		}
		l.disk = killed(l.disk)
	}
}

// process uses the store until it is killed.
func (l *rotten) process(t *testing.T, last uint64) (next uint64, good bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cfg := small(t, l.disk)
	cfg.Fatal = func(err error) {
		l.gaveUp = true
		l.note("given up", err)
		cancel()
	}
	s, err := Open(cfg)
	if err != nil {
		l.note("wrong: open", err)
		return 0, false
	}
	defer s.Close()
	if _, damage := s.SetAside(); damage != nil {
		l.aside = true
		l.note("set aside", damage)
		last = 0
	}
	lane := s.Lane(ID{Pipeline: "p"}, &table)
	meta, err := lane.Load(nil)
	i := uint64(0)
	switch {
	case errors.Is(err, ErrDamaged):
		l.found = true
		l.note("load", err)
		if err := lane.SetAside(); err != nil {
			l.note("set the lane aside", err)
		}
	case err != nil:
		l.note("wrong: load", err)
		return 0, false
	case meta != nil:
		i = binary.BigEndian.Uint64(meta) + 1
		fallthrough
	default:
		if i < last {
			l.earlier = true
		}
		if err := errors.Join(sameLetters(lane, i), sameRows(lane, i)); err != nil {
			l.note("wrong", err)
			return 0, false
		}
	}
	for range 40 {
		change(t, lane, &i)
	}
	if err := s.db.Flush(); err != nil {
		l.note("flush", err)
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
		l.note("compact", err)
	}
	return i, true
}

// sameRows compares the rows of a lane with those of its changes.
func sameRows(lane *Lane, changes uint64) error {
	view, err := lane.View()
	if err != nil {
		return err
	}
	defer view.Close()
	want, have := map[string]string{}, map[string]string{}
	first := uint64(0)
	if changes > 0 {
		first = max((changes-1)/perWindow, windows-1) - (windows - 1)
	}
	for i := first * perWindow; i < changes; i++ {
		render(rowsOf([]group{rowOf(i)}), want)
	}
	for {
		b, err := view.Rows(100)
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		render(b, have)
	}
	if !maps.Equal(want, have) {
		return fmt.Errorf("after %d changes the rows are others, and nobody noticed:\n%v\nwant\n%v", changes, have, want)
	}
	return nil
}

// sameLetters compares the dead letters of a lane with those of its changes.
func sameLetters(lane *Lane, changes uint64) error {
	view, err := lane.View()
	if err != nil {
		return err
	}
	defer view.Close()
	letters, err := view.Letters(1 << 30)
	if err != nil {
		return err
	}
	at := int64(changes) - int64(len(letters))
	for _, d := range letters {
		if d.Offset != at || !bytes.Equal(d.Payload, pair(uint64(at))) {
			return fmt.Errorf("after %d changes, letter %d is another, and nobody noticed", changes, at)
		}
		at++
	}
	return nil
}
