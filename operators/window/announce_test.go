package window

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// announcer is a process that is told of windows: sessions, or with a step windows of so many rows.
type announcer struct {
	cfg  *Config
	step *Numbering // or nil
	w    operators.Window
	life life
}

// announcerOf makes one of them by a seed.
func announcerOf(t *testing.T, seed uint64) *announcer {
	if seed%2 == 0 {
		cfg := sessionConfig(t, seed/2)
		return &announcer{cfg: cfg}
	}
	step, cfg := countConfig(t, seed/2%24) // without max_jump, which the definition does not know
	return &announcer{cfg: cfg, step: step}
}

func (a *announcer) begin(t *testing.T, state []byte, at, reached operators.Clock) {
	if a.step == nil {
		a.w = a.cfg.Open()
		a.w.Restore(at, reached)
		return
	}
	a.life = newLife(t, a.step, a.cfg, state, at, reached)
	a.w = a.life.w
}

// endReplay tells the window that all records from here on are new.
func (a *announcer) endReplay() {
	if w, ok := a.w.(operators.Replaying); ok {
		w.EndReplay()
	}
}

func (a *announcer) add(t *testing.T, rows []row, first int64) {
	if a.step == nil {
		add(t, a.w, makeBatch(a.cfg.In, rows, first), first)
		return
	}
	a.life.add(t, a.step, rows, first)
}

func (a *announcer) state(t *testing.T) []byte {
	if a.step == nil {
		return nil
	}
	state, err := a.life.op.Snapshot(nil)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// lines are the rows of a batch: window, key, end and answers.
func (a *announcer) lines(b *batch.Batch) []string {
	if b == nil {
		return nil
	}
	texts, counted := map[string]stored{}, countShelf{}
	if a.step == nil {
		store(texts, b, 0)
	} else {
		counted.put(b, 0)
	}
	lines := make([]string, b.Rows)
	for i := range b.Rows {
		key := keyText(b, i)
		text := texts[key].text
		if a.step != nil {
			key = fmt.Sprintf("%s|%d", key, batch.As[uint64](b.Cols[5].Values)[i])
			text = counted[key].text
		}
		lines[i] = fmt.Sprintf("%s to %d: %s", key, batch.As[int64](b.Cols[1].Values)[i], text)
	}
	return lines
}

// want are the lines of all windows of rows that are final, by the definition, in the order that Announce promises.
func (a *announcer) want(rows []row) []string {
	var lines []string
	line := func(key string, end int64, g *naiveGroup) {
		lines = append(lines, fmt.Sprintf("%s to %d: %s", key, end, g))
	}
	if a.step == nil {
		all, clock := islands(a.cfg, rows)
		final := clock - (a.cfg.MaxOutOfOrder + a.cfg.AllowedLateness + a.cfg.Gap).Milliseconds()
		keys := slices.SortedFunc(maps.Keys(all), func(x, y string) int {
			return cmp.Or(cmp.Compare(all[x].end, all[y].end), cmp.Compare(all[x].first, all[y].first))
		})
		for _, key := range keys {
			if all[key].end <= final {
				line(key, all[key].end, &all[key].naiveGroup)
			}
		}
		return lines
	}
	told := map[string]bool{}
	for n := range rows {
		all, clock := countedSoFar(a.cfg, rows[:n+1])
		end := func(key string) int64 {
			var start int64
			if _, err := fmt.Sscanf(key, "%d|", &start); err != nil {
				panic(err)
			}
			return start + a.cfg.Size.Milliseconds()
		}
		number := func(key string) (n int) {
			if _, err := fmt.Sscan(key[strings.LastIndexByte(key, '|')+1:], &n); err != nil {
				panic(err)
			}
			return n
		}
		full := func(key string) bool { return uint64(all[key].n) == a.cfg.Count.Rows }
		var over []string
		for key := range all {
			if !told[key] && (full(key) || end(key) <= clock-(a.cfg.MaxOutOfOrder+a.cfg.AllowedLateness).Milliseconds()) {
				over = append(over, key)
			}
		}
		slices.SortFunc(over, func(x, y string) int {
			if full(x) != full(y) {
				return map[bool]int{true: -1, false: 1}[full(x)]
			}
			return cmp.Or(cmp.Compare(end(x), end(y)), cmp.Compare(number(x), number(y)))
		})
		for _, key := range over {
			told[key] = true
			line(key, end(key), all[key])
		}
	}
	return lines
}

// TestAnnounceInOrder is told of each window once, when it is final, in the order that is promised, however rows are cut into batches and
// whenever a cut comes; and what it is told is what was cut.
func TestAnnounceInOrder(t *testing.T) {
	windows, together := 0, 0
	for seed := range uint64(64) {
		rng := rand.New(rand.NewPCG(seed, 21))
		a := announcerOf(t, seed)
		rows := stream(rng, 200)
		if rng.IntN(2) == 0 {
			for i := range rows { // so that many end together
				rows[i].ts = rows[i].ts / 500 * 500
			}
		}
		want := a.want(rows)
		for _, most := range []int64{1, 9, 200} {
			unset := operators.Clock{Max: operators.Unset}
			a.begin(t, nil, unset, unset)
			a.endReplay()
			var got []string
			cuts, cut := map[string]bool{}, 0 // rows that were cut, and how many of got were when they were
			for at := int64(0); at < int64(len(rows)); {
				n := min(1+rng.Int64N(most), int64(len(rows))-at)
				a.add(t, rows[at:at+n], at)
				at += n
				got = append(got, a.lines(a.w.Announce())...)
				if again := a.w.Announce(); again != nil {
					t.Fatalf("seed %d: told twice of\n%s", seed, strings.Join(a.lines(again), "\n"))
				}
				if rng.IntN(4) > 0 && at < int64(len(rows)) {
					continue
				}
				touched := rng.IntN(2) == 0
				if touched { // as where a lane stops in order: then the cut has all there is
					a.w.Touch()
					clear(cuts)
				}
				for _, line := range a.lines(a.w.Cut(at).Rows) {
					cuts[line] = true
				}
				for _, line := range got[cut:] {
					if !cuts[line] {
						t.Errorf("seed %d: told of %s, which was not cut", seed, line)
					}
				}
				cut = len(got)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, batches of up to %d: told of\n%s\nwant\n%s", seed, most, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		windows += len(want)
		for i := range want {
			if i > 0 && endOf(want[i]) == endOf(want[i-1]) {
				together++
			}
		}
	}
	t.Logf("%d windows, %d of them end with the one before", windows, together)
	if windows < 3000 || together < 500 {
		t.Error("too little of it happened")
	}
}

func endOf(line string) string {
	_, rest, _ := strings.Cut(line, " to ")
	end, _, _ := strings.Cut(rest, ":")
	return end
}

// TestAnnounceAfterCrashes runs processes that die at random moments, each of which begins where the last commit says: together they are told of
// each window that is final, with the same answers each time, of none that was final at the commit, and each in the order that is promised.
func TestAnnounceAfterCrashes(t *testing.T) {
	type point struct {
		offset int64
		clock  operators.Clock
		state  []byte
	}
	again, processes := 0, 0
	for seed := range uint64(64) {
		rng := rand.New(rand.NewPCG(seed, 22))
		a := announcerOf(t, seed)
		rows := stream(rng, 200)
		want := a.want(rows)
		nth := map[string]int{}
		for i, line := range want {
			nth[line] = i
		}
		unset := operators.Clock{Max: operators.Unset}
		told := make([]bool, len(want))
		points := []point{{clock: unset}}
		position, reached, passed := int64(0), unset, 0
		for end := int64(len(rows)); position < end; processes++ {
			p := points[0]
			a.begin(t, p.state, p.clock, reached)
			at, mine := p.offset, points
			next := passed // of want, what this process is to be told next
			if at == position {
				a.endReplay()
			}
			for alive := true; alive && at < end; {
				limit := end
				if at < position {
					limit = position
				}
				n := min(1+rng.Int64N(20), limit-at)
				a.add(t, rows[at:at+n], at)
				if at += n; at < position {
					continue
				}
				if at == position {
					a.endReplay()
				}
				for _, line := range a.lines(a.w.Announce()) {
					i, ok := nth[line]
					if !ok || i != next {
						t.Fatalf("seed %d, at %d: told of %s, which is number %d (%t), and %d is next", seed, at, line, i, ok, next)
					}
					if next++; told[i] {
						again++
					}
					told[i] = true
				}
				if rng.IntN(3) > 0 && at < end {
					continue
				}
				cut := a.w.Cut(at)
				if alive = rng.IntN(4) > 0 || at == end; !alive {
					break // it is not committed
				}
				if a.step == nil {
					mine = []point{{cut.ReplayFrom, cut.Replay, nil}}
				} else if rng.IntN(2) == 0 {
					mine = append(mine, point{at, a.w.Clock(), a.state(t)})
				}
				for len(mine) > 1 && mine[1].offset <= cut.ReplayFrom {
					mine = mine[1:]
				}
				points, position, reached, passed = mine, at, a.w.Clock(), next
				alive = rng.IntN(3) > 0
			}
		}
		if i := slices.Index(told, false); i >= 0 {
			t.Fatalf("seed %d: never told of %s", seed, want[i])
		}
	}
	t.Logf("%d processes, told again of %d windows", processes, again)
	if processes < 200 || again < 500 {
		t.Error("too little of it happened")
	}
}

// TestAnnounceTumbling has windows that overlap begin out of order.
func TestAnnounceTumbling(t *testing.T) {
	cfg := testConfig(t)
	cfg.Size, cfg.Every, cfg.MaxOutOfOrder = 10*time.Second, 5*time.Second, 10*time.Second
	w := cfg.Open()
	const at = 1_700_000_000_000
	var got []string
	for i, ts := range []int64{at + 9_000, at + 2_000, at + 7_000, at + 40_000} {
		add(t, w, makeBatch(cfg.In, []row{{ts: ts, device: "d", kafka: ts}}, int64(i)), int64(i))
		if b := w.Announce(); b != nil {
			for _, start := range batch.As[int64](b.Cols[0].Values)[:b.Rows] {
				got = append(got, fmt.Sprint((start-at)/1000))
			}
		}
	}
	if want := "-5 0 5"; strings.Join(got, " ") != want {
		t.Errorf("windows that begin at %s s, want %s", strings.Join(got, " "), want)
	}
}

// TestAnnounceJoined has a session be told of in the place of its first row in the log, though that is of the later one of the two that it was.
func TestAnnounceJoined(t *testing.T) {
	cfg := testConfig(t)
	cfg.Gap, cfg.Size = 2*time.Second, time.Hour
	const at = 1_699_999_200_000
	w := cfg.Open()
	var rows []row
	for _, r := range []struct {
		device string
		ts     int64
	}{{"a", 3500}, {"b", 3500}, {"a", 1000}, {"a", 2200}, {"c", 30_000}} {
		rows = append(rows, row{ts: at + r.ts, device: r.device, kafka: at})
	}
	add(t, w, makeBatch(cfg.In, rows, 0), 0)
	b := w.Announce()
	if b == nil || b.Rows != 2 || string(b.Cols[3].Bytes(0)) != "a" || string(b.Cols[3].Bytes(1)) != "b" {
		t.Errorf("told of %v", (&announcer{cfg: cfg}).lines(b))
	}
}
