package harness

import (
	"os"
	"testing"
	"time"
)

func TestParseMachineTime(t *testing.T) {
	busy, idle, err := parseMachineTime("cpu  1 2 4 100 20 8 16 32 64 128\ncpu0 9 9 9 9\n")
	// What guests used is in user and nice already.
	if err != nil || busy != 63*tick || idle != 120*tick {
		t.Errorf("%v busy, %v idle, %v", busy, idle, err)
	}
	for _, bad := range []string{"", "cpu", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a 2 3 4 5 6 7 8"} {
		if busy, idle, err := parseMachineTime(bad); err == nil {
			t.Errorf("%q: %v busy, %v idle", bad, busy, idle)
		}
	}
}

// TestUsage uses the processor and finds that in what the machine tells.
func TestUsage(t *testing.T) {
	pid, here := os.Getpid(), place{cores: 1}
	before, err := usageOf(pid, here)
	if err != nil {
		t.Fatal(err)
	}
	for used := before; used.process-before.process < 100*time.Millisecond; {
		if used, err = usageOf(pid, here); err != nil {
			t.Fatal(err)
		}
	}
	after, err := usageOf(pid, here)
	if err != nil {
		t.Fatal(err)
	}
	if machine := after.busy - before.busy; machine < 50*time.Millisecond {
		t.Errorf("this process used %v and the machine %v", after.process-before.process, machine)
	}
}
