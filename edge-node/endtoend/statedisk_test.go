//go:build linux

package endtoend

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/torture"
)

// smallDisk mounts a file system of some size in memory.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size="+size); err != nil {
		mayNot(t, "a small disk needs the right to mount", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	return disk
}

// fill writes a file until the disk has not a byte left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// cpu is how much processor time a process has used, in its own threads.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%v\n%s", err, p.stderr.String())
	}
	// The name stands in brackets and may hold anything. Behind it, fields 3 and up of proc(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, f := range fields[14-3 : 16-3] { // utime and stime
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 wherever Linux runs
}

// TestStateDiskFull fills the disk of the local store while ClickHouse is away. The node says so and waits, without work; with
// space again it goes on by itself, still without ClickHouse; and when that is back, nothing is missing.
func TestStateDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "320m")
	s, link := newLinkedStream(t)
	conn := openClickHouse(t, s.clickhouse)
	args := []string{"--state-dir", filepath.Join(disk, "state")}
	s.produce(t.Context(), 51, 60_000, 5000)
	node := s.start(args...)
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 0, node.stderr.String() })

	// ClickHouse goes, and the node saves what it reads.
	link.mu.Lock()
	link.only = refuse
	link.mu.Unlock()
	link.on.Store(true)
	link.hangUp()
	saves := func() float64 { t.Helper(); return node.sum(t, "weir_saves_total") }
	before := saves()
	eventually(t, patience, func() (bool, string) { return saves() > before+12, node.stderr.String() })

	rounds, watch := 1, 3*time.Second
	if big() {
		rounds, watch = 3, 10*time.Second
	}
	filler := filepath.Join(disk, "filler")
	var busiest, slowest float64
	for round := range rounds {
		fill(t, filler)
		eventually(t, patience, func() (bool, string) {
			return node.sum(t, "weir_store_full") == 1 && node.said("full") > 0, node.stderr.String()
		})
		if round > 0 {
			// Killed with the disk full, it starts with the disk full.
			node.kill()
			node = s.start(args...)
			node.address(t)
			eventually(t, patience, func() (bool, string) {
				return strings.Contains(node.stderr.String(), "partition assigned"), node.stderr.String()
			})
		}
		time.Sleep(2 * time.Second) // until all lanes have noticed
		began, used := time.Now(), node.cpu(t)
		time.Sleep(watch)
		share := 100 * (node.cpu(t) - used).Seconds() / time.Since(began).Seconds()
		busiest = max(busiest, share)
		if !node.running() {
			t.Fatalf("the node ended:\n%s", node.stderr.String())
		}
		was, read := saves(), node.sum(t, "weir_source_records_total")
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		eventually(t, patience, func() (bool, string) {
			return saves() > was && node.sum(t, "weir_source_records_total") > read, node.stderr.String()
		})
		slowest = max(slowest, time.Since(began).Seconds())
		t.Logf("round %d: %.1f %% of a core while full, went on %.2f s after there was space", round, share, time.Since(began).Seconds())
	}
	link.heal()
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	last := s.start(append(args, "--stop-at-end")...)
	if code := last.wait(t, patience); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, last.stderr.String())
	}
	s.check()
	lost := 0.0
	if t.Failed() {
		lost = 1
	}
	torture.Record(t, "disk full: runs with wrong totals", lost, "of 1", 0)
	torture.Record(t, "disk full: processor while full", busiest, "% of a core", 10)
	torture.Record(t, "disk full: on its way again after there is space", slowest, "s", 5)
}
