//go:build linux

package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/failpoint"
)

// anywhen is no point: the process is stopped from outside, at a random moment.
const anywhen failpoint.Point = ""

// TestZombies stops one of two nodes while it holds a cut, at a point or at a random moment, for longer than its session. Its
// partitions go to the other node, and then it goes on with what it had in its hands and does not know.
func TestZombies(t *testing.T) {
	t.Parallel()
	points := []failpoint.Point{
		anywhen, failpoint.Submit, failpoint.InsertRows, failpoint.InsertLetters, failpoint.InsertCoverage, failpoint.CommitBefore,
	}
	stores := []bool{true, false}
	if !big() {
		points, stores = []failpoint.Point{points[rand.IntN(len(points))]}, stores[:1]
	}
	for _, p := range points {
		for _, store := range stores {
			name := string(p)
			if p == anywhen {
				name = "anywhen"
			}
			t.Run(fmt.Sprintf("%s, store %v", name, store), func(t *testing.T) {
				t.Parallel()
				zombie(t, p, store)
			})
		}
	}
}

func zombie(t *testing.T, at failpoint.Point, store bool) {
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", embeddedtest.ClickHouse(t), "    protocol: classic\n    session_timeout: 6s")
	s.binary = weirBinary(t, "failpoints")
	conn := openClickHouse(t, s.clickhouse)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	s.produce(t.Context(), rng.Uint64(), 80_000, 5000)
	args := func(node string) []string {
		a := []string{"--node", node}
		if store {
			a = append(a, "--state-dir", filepath.Join(s.dir, "state-"+node))
		}
		return a
	}
	a := s.start(args("a")...)
	a.waitSaid(t, "partition assigned", 1)
	rounds := 1
	if big() {
		rounds = 2
	}
	var b *process
	for range rounds {
		if b == nil {
			var env []string
			if at != anywhen {
				env = []string{fmt.Sprintf("%s=%s=stop@%d", failpoint.EnvPoints, at, 1+rng.IntN(4))}
			}
			b = s.startIn(env, args("b")...)
			b.waitSaid(t, "partition assigned", 1)
		}
		if at == anywhen {
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			b.signal(t, syscall.SIGSTOP)
		}
		eventually(t, patience, func() (bool, string) {
			if !b.running() {
				t.Fatalf("weir ended:\n%s", b.stderr.String())
			}
			return b.stopped(t), "it does not stop:\n" + b.stderr.String()
		})
		s.progressAll(conn, "one is stopped", a, b)
		b.signal(t, syscall.SIGCONT)
		s.progressAll(conn, "the zombie is back", a, b)
		if at != anywhen {
			break // once is when it stops
		}
	}
	s.waitProduced()
	for _, p := range []*process{b, a} {
		p.signal(t, os.Interrupt)
		if code := p.wait(t, patience); code != 0 {
			t.Errorf("exit code %d:\n%s", code, p.stderr.String())
		}
	}
	last := s.start(append(args("b"), "--stop-at-end")...)
	if code := last.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, last.stderr.String())
	}
	s.check()
}

// stopped tells whether a process is stopped by a signal.
func (p *process) stopped(t *testing.T) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name stands in brackets and may hold anything; the state is behind it.
	rest := stat[bytes.LastIndexByte(stat, ')')+1:]
	return bytes.HasPrefix(rest, []byte(" T"))
}

// progressAll waits until more is stored of every partition.
func (s *stream) progressAll(conn driver.Conn, what string, nodes ...*process) {
	s.t.Helper()
	before := s.accounts(conn)
	eventually(s.t, patience, func() (bool, string) {
		now := s.accounts(conn)
		for p := range uint32(6) {
			if now[p] < before[p]+200 {
				said := fmt.Sprintf("%s: %v records stored, %v before", what, now, before)
				for _, n := range nodes {
					said += "\n" + n.stderr.String()
				}
				return false, said
			}
		}
		return true, ""
	})
}

// accounts is how many records of each partition ClickHouse has an account of; nothing where it cannot be asked.
func (s *stream) accounts(conn driver.Conn) map[uint32]int64 {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	got := map[uint32]int64{}
	rows, err := conn.Query(ctx, "SELECT partition, toInt64(sum(records_in)) FROM weir_coverage FINAL GROUP BY partition")
	if err != nil {
		return nil
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p uint32
		var n int64
		if rows.Scan(&p, &n) != nil {
			return nil
		}
		got[p] = n
	}
	return got
}
