package spool

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weir-stream/weir/sink"
)

// TestSmallBudget fills a store of a few MiB, and then removes what it has: there is room again, since what the database keeps of its own
// log is in proportion to the budget.
func TestSmallBudget(t *testing.T) {
	s, err := Open(Config{Dir: t.TempDir(), MaxBytes: 3 << 20, Reserve: 1 << 20, Fatal: func(err error) { panic(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	value := make([]byte, 1000)
	for round := range 4 {
		full := false
		for i := 0; !full; i++ {
			b := s.Batch()
			for k := range 20 + 7*round {
				for j := range value {
					value[j] = byte(j * (i + k + 1) >> 3)
				}
				b.Set(fmt.Appendf(nil, "%04d-%04d", i, k), value)
			}
			if err := b.Commit(); err != nil {
				if !errors.Is(err, sink.ErrFull) {
					t.Fatal(err)
				}
				full = true
			}
		}
		b := s.Batch()
		b.DeleteAll([]byte("0"))
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		s.reclaim([]byte{0}, []byte{0xff})
		for deadline := time.Now().Add(30 * time.Second); s.room(256<<10) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d: no room in an empty store: %v\n%s", round, s.room(256<<10), s.db.Metrics())
			}
		}
		m := s.db.Metrics()
		t.Logf("round %d: used %d, log %d and %d to be used again", round, m.DiskSpaceUsage(), m.WAL.PhysicalSize, m.WAL.ObsoletePhysicalSize)
	}
}
