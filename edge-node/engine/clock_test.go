package engine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// clocked is a stateful step whose state is the latest time of the rows so far. What it is told of the clock must be the same: the windows
// behind it take each of its rows.
type clocked struct {
	total
	mu    sync.Mutex
	told  int      // guarded by mu: rows that came behind a state and a clock
	wrong []string // guarded by mu
}

func (d *clocked) Open(context.Context, operators.Env) (operators.Operator, error) {
	return &clock{step: d}, nil
}

type clock struct {
	step   *clocked
	latest int64 // microseconds; 0: no row came
	check  bool  // a state was restored, and no row came since
	told   operators.Clock
}

func (o *clock) Process(_ context.Context, b *batch.Batch) error {
	if o.check && o.latest != 0 && b.Rows > 0 {
		o.step.mu.Lock()
		if o.step.told++; o.told.Max != o.latest {
			o.step.wrong = append(o.step.wrong, fmt.Sprintf("rows from offset %d of partition %d on: the clock is said to be %d, and is %d", b.Records[0].Offset, b.Partition.ID, o.told.Max, o.latest))
		}
		o.step.mu.Unlock()
	}
	o.check = o.check && b.Rows == 0
	for _, ms := range batch.As[int64](b.Cols[0].Values)[:b.Rows] {
		o.latest = max(o.latest, 1000*ms)
	}
	return nil
}

func (o *clock) Snapshot(dst []byte) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(o.latest)), nil
}

func (o *clock) Restore(_ context.Context, state []byte) error {
	o.latest, o.check, o.told = 0, true, operators.Clock{}
	if len(state) == 8 {
		o.latest = int64(binary.BigEndian.Uint64(state))
	}
	return nil
}

func (o *clock) SetClock(c operators.Clock) { o.told = c }

func (o *clock) Close() error { return nil }

// TestClockRestored has a step that decides by the clock taken up from the local store, and from the destination: with its state it is told what
// the clock was.
func TestClockRestored(t *testing.T) {
	t.Parallel()
	brokers, cl := broker(t)
	rng := rand.New(rand.NewPCG(1, 6))
	step := &clocked{total: total{name: "1 clock", schema: testColumns().Schema()}}
	tr, c := &truth{}, newCentre()
	s := setup{brokers: brokers, group: "g", centre: c, steps: []operators.Step{step}, rows: 50, atEnd: true}
	disk := openDisk(t, filepath.Join(t.TempDir(), "a"))
	defer func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	}()
	for life := range 6 {
		produce(t, cl, rng, tr, 600)
		s.disk = nil
		if life != 3 { // whose successor finds a disk that is behind
			s.disk = disk
		}
		e, _ := start(t, s)
		if err := e.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check(t, c, tr)
	step.mu.Lock()
	defer step.mu.Unlock()
	for _, wrong := range step.wrong {
		t.Error(wrong)
	}
	t.Logf("%d times told", step.told)
	if step.told < 5 {
		t.Errorf("the clock was told %d times only: the test does not test", step.told)
	}
}
