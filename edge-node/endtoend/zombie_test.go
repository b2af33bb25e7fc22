//go:build unix

package endtoend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/bench/workload"
)

// TestZombieOfAnotherRevision stops a node for longer than its session, while it has records that it has not shipped. Another
// node takes its partitions over with another revision, which begins segments of its own. Then the first goes on: what it ships
// of its own segments now would count twice.
func TestZombieOfAnotherRevision(t *testing.T) {
	t.Parallel()
	s := newSwapStream(t, "    protocol: classic\n    session_timeout: 6s")
	cfg := workload.SensorsConfig{Seed: 31, Events: 60_000, Devices: 200, NumPartitions: 6, Span: 5 * time.Minute}.DefaultMix()
	cfg.LateRate, cfg.BrokenRate = 0, 0 // a restart in another revision begins with a new clock, for which fewer rows are late
	s.send(t.Context(), cfg, 6000)
	conn := openClickHouse(t, s.clickhouse)
	progress := func(what string, p *process) {
		t.Helper()
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) {
			n := s.stored(conn)
			return n > before+2000, fmt.Sprintf("%s: %d records stored, %d before\n%s", what, n, before, p.stderr.String())
		})
	}
	old := s.start("--node", "a")
	progress("the first", old)
	zombies := 0
	for i := 0; zombies < 3 && i < 9 || zombies == 0 && i < 20; i++ {
		if i < 3 || zombies > 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		} else { // on a slow machine something is always on its way, but not right after an account has arrived
			last := s.stored(conn)
			eventually(t, patience, func() (bool, string) { return s.stored(conn) > last, old.stderr.String() })
		}
		old.signal(t, syscall.SIGSTOP)
		s.module(i%3 + 1)
		next := s.start("--node", fmt.Sprintf("b%d", i))
		// What the stopped node had sent may still be stored for a while, so only records after the takeover count.
		eventually(t, patience, func() (bool, string) {
			return next.said("partition assigned")+next.said("run that revision") > 0, next.stderr.String()
		})
		before := s.stored(conn)
		eventually(t, patience, func() (bool, string) {
			n := s.stored(conn)
			return n > before+2000 || next.said("run that revision") > 0, fmt.Sprintf("%d records stored, %d before\n%s", n, before, next.stderr.String())
		})
		leave := old
		if next.said("run that revision") > 0 {
			// It was stopped between rows and their account, and must finish that itself.
			leave, next = next, old
		}
		old.signal(t, syscall.SIGCONT)
		if leave == old {
			zombies++
			eventually(t, patience, func() (bool, string) {
				return old.said("partition lost")+old.said("partition given up") > 0, "it does not notice:\n" + old.stderr.String()
			})
			progress("the zombie is back", next)
		}
		leave.signal(t, os.Interrupt)
		if code := leave.wait(t, patience); code != 0 {
			t.Errorf("exit code %d:\n%s", code, leave.stderr.String())
		}
		old = next
		progress("one is left", old)
	}
	if zombies == 0 {
		t.Error("no zombie: the test does not test")
	}
	s.waitProduced()
	old.signal(t, os.Interrupt)
	if code := old.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, old.stderr.String())
	}
	s.complete(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s.checkRows(ctx, conn)
	wantAudit(ctx, t, s.plan())
}
