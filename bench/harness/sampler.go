package harness

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/report"
)

// sampler looks at a process while it runs: what memory it has resident, and whether it is busy. It reads /proc, so
// elsewhere than on Linux it finds nothing.
type sampler struct {
	end  chan struct{}
	done chan struct{}

	// After stop:
	points []report.Point // MiB resident at seconds since the start
	// peak is the most memory the process has had resident, in bytes. The system's own account (ru_maxrss) does not do on
	// Linux: it counts what the parent had when the process was forked.
	peak int64
	// busy is the time in which the process used the processor. A contender also waits for clocks: to join a group, for the
	// next flush. That says nothing of its speed.
	busy time.Duration
	// cores is who used the cores of the machine in that time, or nil where the machine does not tell.
	cores *report.CoreSeconds
}

const (
	// sampleEvery is short enough for a run of a second, and long enough to take no time itself and for the system's clock
	// of the processor, which counts in hundredths of a second.
	sampleEvery = 50 * time.Millisecond
	tick        = 10 * time.Millisecond
	// idleBelow is the share of a core below which a process is waiting.
	idleBelow = 0.2
	// maxSamples bounds what is kept of a long run: of more, every other one is.
	maxSamples = 1000
)

func watch(pid int, began time.Time, at place) *sampler {
	s := &sampler{end: make(chan struct{}), done: make(chan struct{})}
	go s.run(pid, began, at)
	return s
}

func (s *sampler) run(pid int, began time.Time, at place) {
	defer close(s.done)
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	last := began
	used, _ := usageOf(pid, at) // what cannot be read now cannot be later
	keep, seen := 1, 0
	for {
		select {
		case <-s.end:
			return
		case <-ticker.C:
		}
		now := time.Now()
		m, err := readMemory(pid)
		if err != nil {
			continue // it is ending
		}
		s.peak = max(s.peak, m.peak)
		if seen++; seen%keep == 0 {
			s.points = append(s.points, report.Point{X: now.Sub(began).Seconds(), Y: float64(m.resident) / (1 << 20)})
		}
		if len(s.points) >= maxSamples {
			kept := s.points[:0]
			for i := 1; i < len(s.points); i += 2 {
				kept = append(kept, s.points[i])
			}
			s.points, keep = kept, 2*keep
		}
		if u, err := usageOf(pid, at); err == nil {
			if span := now.Sub(last); float64(u.process-used.process) >= idleBelow*float64(span) {
				s.busy += span
				if s.cores == nil {
					s.cores = &report.CoreSeconds{}
				}
				u.since(used, s.cores)
			}
			last, used = now, u
		}
	}
}

func (s *sampler) stop() {
	close(s.end)
	<-s.done
}

// memory is what a process has resident, and the most it had, in bytes.
type memory struct{ resident, peak int64 }

func readMemory(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	var m memory
	for line := range strings.SplitSeq(string(status), "\n") {
		for name, to := range map[string]*int64{"VmRSS:": &m.resident, "VmHWM:": &m.peak} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				if err != nil {
					return memory{}, fmt.Errorf("read the memory of process %d: %w", pid, err)
				}
				*to = kib << 10
			}
		}
	}
	if m.resident == 0 {
		return memory{}, io.ErrUnexpectedEOF // it has ended
	}
	return m, nil
}

// cpuTime is the processor time that a process has used.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the times of process %d: %w", pid, err)
	}
	// The name, in brackets, may contain anything; user and system time are the 12th and 13th field after it.
	_, rest, ok := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, io.ErrUnexpectedEOF
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the times of process %d: %w", pid, err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the times of process %d: %w", pid, err)
	}
	return time.Duration(user+system) * tick, nil
}
