package wasm

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// Fuel is what guests pay with: a unit is about one instruction (package meter). The same call with the same fuel ends at
// the same instruction in every run and in both engines.
//
// Whether a row is rejected for want of fuel must be a function of that row: on replay the batches are cut elsewhere. So
// no call has more fuel than a row by itself, and a row is rejected only by itself, in a guest that has run nothing else,
// and then with fuelToSpare more. What a row takes beside others or later in the life of a guest differs by less than
// that: a garbage collection more, a table that is made on the first call.
const (
	// fuelPerCall is what a call of weir_process gets at least: for what a call costs whatever its rows, such as a garbage
	// collection in a Go guest, about a million.
	fuelPerCall = 10_000_000
	// fuelToSpare is what a row by itself gets in a fresh guest beyond what any other call has.
	fuelToSpare = 10_000_000
	// fuelToStart is what every other call gets: starting a language's runtime, reading a configuration, allocating
	// windows. A Go guest starts on 4 million; a guest that spins is stopped after a quarter of a second.
	fuelToStart = 1_000_000_000
	// fuelPerHostCall is what the guest pays for a call of the host, beside its own instructions.
	fuelPerHostCall = 100
	// fuelPerHostByte is what it pays for each byte it has the host make.
	fuelPerHostByte = 4
)

var (
	errFuel     = errors.New("out of fuel")
	errStack    = errors.New("out of stack")
	errDeadline = errors.New("the deadline has passed")
)

// fuelFor is the fuel of a call with so many rows.
func (c *Config) fuelFor(rows int, fresh bool) int64 {
	most := max(fuelPerCall, int64(c.BatchRows)*c.FuelPerRow)
	switch {
	case rows > 1:
		return min(most, max(fuelPerCall, int64(rows)*c.FuelPerRow))
	case fresh:
		return most + fuelToSpare
	default:
		return most
	}
}

// tank is the fuel of a guest, its stack, and its alarm clock. The guest's own goroutine uses it.
type tank struct {
	fuel, budget, stop, stack api.MutableGlobal
	filled                    int64 // fuel of the current call
	used                      int64 // fuel of the calls since take

	deadline time.Duration
	depth    uint64 // bytes of stack a call begins with
	timer    *time.Timer
	mu       sync.Mutex
	running  bool // under mu: a call runs, so the timer may set stop
	late     bool // under mu: it did
}

// connect finds the globals that meter added.
func (t *tank) connect(mod api.Module) error {
	for name, to := range map[string]*api.MutableGlobal{
		meter.ExportFuel: &t.fuel, meter.ExportBudget: &t.budget, meter.ExportStop: &t.stop, meter.ExportStack: &t.stack,
	} {
		g, ok := mod.ExportedGlobal(name).(api.MutableGlobal)
		if !ok {
			return fmt.Errorf("the global %s is missing", name)
		}
		*to = g
	}
	return nil
}

// fill begins a call with n units of fuel.
func (t *tank) fill(n int64) {
	if t.fuel == nil {
		return
	}
	t.filled = n
	slice := min(n, meter.Slice)
	t.fuel.Set(uint64(slice))
	t.budget.Set(uint64(n - slice))
	t.stack.Set(t.depth)
	t.mu.Lock()
	t.running = true
	t.mu.Unlock()
	if t.timer == nil {
		t.timer = time.AfterFunc(t.deadline, t.ring)
	} else {
		t.timer.Reset(t.deadline)
	}
}

// ring ends the call that runs. The guest reads the global without a lock when it gives way to the host.
func (t *tank) ring() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running {
		t.late = true
		t.stop.Set(1)
	}
}

// take returns what was used since it was called last.
func (t *tank) take() int64 {
	n := t.used
	t.used = 0
	return n
}

// drain ends a call and accounts for it. It returns errFuel, errStack or errDeadline where these may have ended it.
func (t *tank) drain() error {
	if t.fuel == nil {
		return nil
	}
	t.timer.Stop()
	t.mu.Lock()
	late := t.late
	if t.running, t.late = false, false; late {
		t.stop.Set(0)
	}
	t.mu.Unlock()
	left := int64(t.fuel.Get())
	if left == meter.Spent {
		t.used += t.filled
		return errFuel
	}
	t.used += min(t.filled, t.filled-left-int64(t.budget.Get()))
	if int64(t.stack.Get()) < 0 {
		return errStack
	}
	if late {
		return errDeadline
	}
	return nil
}

// pay takes fuel for what the host does for the guest. The guest notices at its next slice.
func (t *tank) pay(n int64) {
	if t.fuel == nil {
		return
	}
	if left := int64(t.budget.Get()); left > math.MinInt64/2 {
		t.budget.Set(uint64(left - n))
	}
}
