//go:build linux

package endtoend

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/edge-node/torture"
)

// big tells whether the long variant of a test is wanted: make torture.
func big() bool { return os.Getenv("WEIR_TORTURE") != "" }

// death is a life that ends by itself at a point, when it is come to for the n-th time.
type death struct {
	at failpoint.Point
	n  int
}

func (d death) String() string { return fmt.Sprintf("%s@%d", d.at, d.n) }

// pointCounts counts how often points were come to, and how often a process died there.
type pointCounts struct {
	mu    sync.Mutex
	hits  map[failpoint.Point]int // guarded by mu
	kills map[failpoint.Point]int // guarded by mu
}

func newPointCounts() *pointCounts {
	return &pointCounts{hits: map[failpoint.Point]int{}, kills: map[failpoint.Point]int{}}
}

// report prints the counts, and fails for points that were to be died at and never were.
func (c *pointCounts) report(t *testing.T, want []failpoint.Point) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, p := range failpoint.All() {
		fmt.Fprintf(&b, "\n  %-16s come to %6d times, died at %3d times", p, c.hits[p], c.kills[p])
	}
	t.Logf("failpoints:%s", b.String())
	for _, p := range want {
		if c.hits[p] == 0 || c.kills[p] == 0 {
			t.Errorf("point %s was come to %d times and died at %d times: it was not tested", p, c.hits[p], c.kills[p])
		}
	}
}

// mortal is a stream whose node dies again and again.
type mortal struct {
	*stream
	conn   driver.Conn
	args   []string // of every life
	counts *pointCounts
	rng    *rand.Rand
	log    string // of points
	lives  int
	swap   func() // puts another version of the pipeline in place of this one
	all    []*process
}

// newMortal takes a stream that runs. store tells whether the node keeps a local store.
func newMortal(s *stream, counts *pointCounts, store bool) *mortal {
	s.t.Helper()
	s.binary = weirBinary(s.t, "failpoints")
	seed := uint64(time.Now().UnixNano())
	m := &mortal{
		stream: s, conn: openClickHouse(s.t, s.clickhouse), counts: counts, rng: rand.New(rand.NewPCG(seed, 7)),
		log: filepath.Join(s.t.TempDir(), "points"),
	}
	s.t.Logf("seed %d", seed)
	if store {
		m.args = []string{"--state-dir", filepath.Join(s.t.TempDir(), "state")}
	}
	return m
}

// live starts a node; points are what is to happen to it.
func (m *mortal) live(points string, args ...string) *process {
	m.t.Helper()
	m.lives++
	env := []string{failpoint.EnvPoints + "=" + points, failpoint.EnvLog + "=" + m.log}
	p := m.startIn(env, slices.Concat(m.args, args)...)
	m.all = append(m.all, p)
	return p
}

// tell prints what the lives have logged and what is accounted for, when the test has failed.
func (m *mortal) tell() {
	if !m.t.Failed() {
		return
	}
	for i, p := range m.all {
		m.t.Logf("life %d:\n%s", i+1, p.stderr.String())
	}
	for _, sql := range []string{
		"SELECT toString(tuple(*)) FROM weir_coverage ORDER BY partition, segment, version",
		"SELECT toString(tuple(_partition, _segment, hex(_rev), window_start, _version, count(), sum(_rows))) FROM line_temperature_partials " +
			"GROUP BY _partition, _segment, _rev, window_start, _version ORDER BY _partition, _segment, window_start, _version",
	} {
		queryRows(m.t.Context(), m.t, m.conn, sql, func(rows driver.Rows) error {
			var line string
			err := rows.Scan(&line)
			m.t.Log(line)
			return err
		})
	}
}

// die has a node die at a point.
func (m *mortal) die(d death) {
	m.t.Helper()
	before := m.stored(m.conn)
	p := m.live(fmt.Sprintf("%s=kill@%d", d.at, d.n))
	m.provoke(d, p, before)
	// A segment whose first account came before its first row is not opened again in this life, but in the next.
	for tries := 1; !m.died(d, p, d.at == failpoint.InsertOpen && tries < 5); tries++ {
		p = m.live(fmt.Sprintf("%s=kill@%d", d.at, d.n))
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("%s: it ended otherwise: %v\n%s", d, p.cmd.ProcessState, p.stderr.String())
	}
	m.counts.mu.Lock()
	m.counts.kills[d.at]++
	m.counts.mu.Unlock()
}

// died waits for the end of a life. Where the point is one that a life may not come to, a life that has stored something and goes on is
// ended, and died tells that it did not come to it.
func (m *mortal) died(d death, p *process, mayMiss bool) bool {
	m.t.Helper()
	const goesOn = 6 * time.Second
	before := m.stored(m.conn)
	for began := time.Now(); ; {
		select {
		case <-p.done:
			return true
		case <-time.After(goesOn):
		}
		switch {
		case mayMiss && m.stored(m.conn) > before:
			p.kill()
			return false
		case time.Since(began) > patience:
			p.kill()
			m.t.Fatalf("%s: it never died there:\n%s", d, p.stderr.String())
		}
	}
}

// provoke does what a point needs to be come to.
func (m *mortal) provoke(d death, p *process, before int64) {
	m.t.Helper()
	works := func() {
		m.t.Helper()
		eventually(m.t, patience, func() (bool, string) {
			// What is stored may have been on its way when the life before ended.
			works := m.stored(m.conn) > before && strings.Contains(p.stderr.String(), "partition assigned")
			return works || !p.running(), fmt.Sprintf("%s: nothing more than %d is stored\n%s", d, before, p.stderr.String())
		})
	}
	switch d.at {
	case failpoint.SwapBefore, failpoint.SwapAfter:
		works()
		m.swap()
		p.signal(m.t, syscall.SIGHUP)
	case failpoint.Revoke, failpoint.RevokeShipped, failpoint.RevokeAfter:
		works()
		p.signal(m.t, syscall.SIGTERM)
	}
}

// shortLives kills a node some times before it has come to anything: most of them while it recovers.
func (m *mortal) shortLives(n int) {
	m.t.Helper()
	for range n {
		p := m.live("")
		time.Sleep(time.Duration(5+m.rng.IntN(250)) * time.Millisecond)
		if !p.running() {
			m.t.Fatalf("the node ended by itself:\n%s", p.stderr.String())
		}
		p.kill()
	}
}

// end runs a node to the end of the topic, and counts the points all have come to.
func (m *mortal) end() {
	m.t.Helper()
	p := m.live("", "--stop-at-end")
	if code := p.wait(m.t, patience); code != 0 {
		m.t.Fatalf("exit code %d:\n%s", code, p.stderr.String())
	}
	m.count()
}

func (m *mortal) count() {
	m.t.Helper()
	f, err := os.Open(m.log)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	m.counts.mu.Lock()
	defer m.counts.mu.Unlock()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m.counts.hits[failpoint.Point(lines.Text())]++
	}
}

// needsStore are the points that only a node with a local store comes to.
var needsStore = []failpoint.Point{failpoint.ResumeLoad, failpoint.SaveBefore, failpoint.SaveAfter, failpoint.Resend}

// needsNew are the points that only a partition nobody has read comes to, so they must be first.
var needsNew = []failpoint.Point{failpoint.ResumeCoverage, failpoint.ResumeBegin}

// ordinary are the points that any node comes to that reads the sensors.
func ordinary(store bool) []failpoint.Point {
	return slices.DeleteFunc(failpoint.All(), func(p failpoint.Point) bool {
		switch p {
		case failpoint.InsertStates, failpoint.InsertBlock, failpoint.SwapBefore, failpoint.SwapAfter:
			return true
		}
		return !store && slices.Contains(needsStore, p)
	})
}

// atMost is how often a life comes to a point for sure.
func atMost(p failpoint.Point) int {
	switch p {
	case failpoint.Revoke, failpoint.RevokeShipped, failpoint.RevokeAfter:
		return 1
	case failpoint.InsertOpen:
		return 1
	case failpoint.ResumeCoverage, failpoint.ResumeLoad, failpoint.ResumeBegin, failpoint.SwapBefore, failpoint.SwapAfter:
		return 6 // the partitions
	}
	return 100
}

// TestPoints kills a node at every point where something durable is about to happen or has just happened, with a local store
// and without, and compares every answer with the truth.
func TestPoints(t *testing.T) {
	t.Parallel()
	counts := newPointCounts()
	t.Run("all", func(t *testing.T) {
		one := rand.IntN(2) == 0 // small: what differs less is tested with a store or without
		for _, store := range []bool{true, false} {
			name := map[bool]string{true: "store", false: "no store"}[store]
			t.Run("chain, "+name, func(t *testing.T) { t.Parallel(); chain(t, counts, store) })
			if store == one || big() {
				t.Run("blocks, "+name, func(t *testing.T) { t.Parallel(); blocks(t, counts, store) })
				t.Run("swaps, "+name, func(t *testing.T) { t.Parallel(); swaps(t, counts, store) })
			}
			if !big() {
				continue
			}
			for _, p := range ordinary(store) {
				for _, n := range []int{1, 2, 5, 12} {
					if n > atMost(p) {
						continue
					}
					t.Run(fmt.Sprintf("%s, %s", death{p, n}, name), func(t *testing.T) { t.Parallel(); single(t, counts, store, death{p, n}) })
				}
			}
		}
		t.Run("states", func(t *testing.T) { t.Parallel(); states(t, counts) })
	})
	if !t.Failed() {
		counts.report(t, failpoint.All())
	}
	kills := 0
	for _, n := range counts.kills {
		kills += n
	}
	torture.Record(t, "kills at points: failed, or wrong totals", failures(t), "of 1 matrix", 0, fmt.Sprintf("%d deaths at %d points", kills, len(counts.kills)))
}

// failures is 1 where a test has failed.
func failures(t *testing.T) float64 {
	if t.Failed() {
		return 1
	}
	return 0
}

// chain goes through all points with one stream, each time with what the death before has left.
func chain(t *testing.T, counts *pointCounts, store bool) {
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	m := newMortal(s, counts, store)
	s.produce(t.Context(), m.rng.Uint64(), 40_000, 6000)
	rounds := 1
	if big() {
		rounds = 4
	}
	for round := range rounds {
		points := ordinary(store)
		if round > 0 {
			points = slices.DeleteFunc(points, func(p failpoint.Point) bool { return slices.Contains(needsNew, p) })
		}
		first := 0
		if round == 0 {
			first = len(needsNew)
			points = slices.Concat(needsNew, slices.DeleteFunc(points, func(p failpoint.Point) bool { return slices.Contains(needsNew, p) }))
		}
		m.rng.Shuffle(len(points)-first, func(i, j int) {
			points[first+i], points[first+j] = points[first+j], points[first+i]
		})
		for i, p := range points {
			if p == failpoint.ResumeLoad || p == failpoint.Resend {
				m.saved()
			}
			n := 1 + m.rng.IntN(min(3, atMost(p)))
			m.die(death{p, n})
			if i%5 == 4 {
				m.shortLives(2)
			}
		}
	}
	s.waitProduced()
	m.end()
	s.check()
	t.Logf("%d lives", m.lives)
}

// saved has a node live until it has saved something.
func (m *mortal) saved() {
	m.t.Helper()
	before := m.stored(m.conn)
	p := m.live("")
	eventually(m.t, patience, func() (bool, string) {
		return m.stored(m.conn) > before, p.stderr.String()
	})
	p.kill()
}

// single is one death, and a life that makes up for it.
func single(t *testing.T, counts *pointCounts, store bool, d death) {
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	m := newMortal(s, counts, store)
	s.produce(t.Context(), m.rng.Uint64(), 20_000, 8000)
	if d.at == failpoint.ResumeLoad || d.at == failpoint.Resend {
		m.saved()
	}
	m.die(d)
	s.waitProduced()
	m.end()
	s.check()
}

// blocks has a node die between the inserts of one write: so many windows and keys change at once that one does not hold them.
func blocks(t *testing.T, counts *pointCounts, store bool) {
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    instance_id: box-1")
	m := newMortal(s, counts, store)
	s.edit("flush_every: 200ms", "flush_every: 1s")
	events := int64(200_000)
	if big() {
		events *= 3 // a life that dies takes some of it with it
	}
	cfg := workload.SensorsConfig{
		Seed: m.rng.Uint64(), Events: events, Devices: 50_000, NumPartitions: 6, Span: 5 * time.Minute, HugeSize: 1<<20 + 1<<10,
	}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate = 0.02, 0.005
	s.send(t.Context(), cfg, 0)
	s.waitProduced() // all of it is there when the node starts
	m.die(death{failpoint.InsertBlock, 1})
	if big() {
		m.die(death{failpoint.InsertBlock, 2})
	}
	m.end()
	s.check()
}

// swaps has a node die while its pipeline is replaced by another version, and when it starts with one.
func swaps(t *testing.T, counts *pointCounts, store bool) {
	s := newSwapStream(t, "    instance_id: box-1")
	m := newMortal(s.stream, counts, store)
	version := 0
	m.swap = func() {
		version = (version + 1 + m.rng.IntN(3)) % 4
		s.module(version)
	}
	cfg := workload.SensorsConfig{Seed: m.rng.Uint64(), Events: 40_000, Devices: 200, NumPartitions: 6, Span: 5 * time.Minute}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate = 0, 0 // a restart in another revision begins with a new clock, for which fewer rows are late
	s.send(t.Context(), cfg, 6000)
	deaths := []death{{failpoint.SwapBefore, 1}, {failpoint.SwapAfter, 1}}
	if big() {
		for _, n := range []int{2, 4, 6} {
			deaths = append(deaths, death{failpoint.SwapBefore, n}, death{failpoint.SwapAfter, n})
		}
	}
	m.rng.Shuffle(len(deaths), func(i, j int) { deaths[i], deaths[j] = deaths[j], deaths[i] })
	for _, d := range deaths {
		m.die(d)
		s.settle(m, &version)
	}
	s.waitProduced()
	m.end()
	ctx := t.Context()
	s.checkRows(ctx, m.conn)
	wantAudit(ctx, t, s.plan())
	m.tell()
}

// settle runs a node until it reads every partition, in the revision it asks for: one that was killed between rows and their
// account left something that only its own can finish.
func (s *swapStream) settle(m *mortal, version *int) {
	s.t.Helper()
	names := map[string]int{}
	current := *version
	for v := range 4 {
		s.module(v)
		names[fmt.Sprintf("%016x", s.plan().Revision)] = v
	}
	needed := regexp.MustCompile(`revision ([0-9a-f]{16}) stored rows`)
	for try := 0; ; try++ {
		if try == 20 {
			s.t.Fatal("no version can read every partition")
		}
		s.module(current)
		before := s.stored(m.conn)
		p := m.live("")
		eventually(s.t, patience, func() (bool, string) {
			return s.stored(m.conn) > before && p.said("partition assigned") >= 6 || needed.MatchString(p.stderr.String()), p.stderr.String()
		})
		p.signal(s.t, os.Interrupt)
		p.wait(s.t, patience)
		ask := needed.FindStringSubmatch(p.stderr.String())
		if ask == nil {
			*version = current
			return
		}
		current = names[ask[1]]
	}
}

// states has a node die whose operators keep state.
func states(t *testing.T, counts *pointCounts) {
	s := newCounterStream(t, 31, 4, 3000)
	s.edit("protocol: classic", "protocol: classic, instance_id: box-1")
	m := newMortal(s.stream, counts, false)
	points := []failpoint.Point{failpoint.InsertStates, failpoint.InsertStates}
	if big() {
		points = append(points, failpoint.InsertRows, failpoint.InsertCoverage, failpoint.CommitBefore, failpoint.CommitAfter,
			failpoint.InsertStates, failpoint.Poll, failpoint.Revoke, failpoint.RevokeAfter, failpoint.InsertStates)
	}
	for _, p := range points {
		m.die(death{p, 1 + m.rng.IntN(min(6, atMost(p)))})
		m.saved()
	}
	s.waitProduced()
	m.end()
	s.check()
}
