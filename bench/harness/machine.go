package harness

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/bench/report"
)

// machine describes where this process runs. What the system does not tell stays empty.
func machine() report.Machine {
	m := report.Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH, Go: runtime.Version(), CPU: "unknown"}
	for line := range strings.SplitSeq(readText("/proc/cpuinfo"), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	for line := range strings.SplitSeq(readText("/proc/meminfo"), "\n") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
				m.Memory = kib << 10
			}
		}
	}
	m.Kernel = strings.TrimSpace(readText("/proc/sys/kernel/osrelease"))
	m.Governor = strings.TrimSpace(readText("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"))
	if first, _, ok := strings.Cut(readText("/proc/loadavg"), " "); ok {
		m.LoadBefore, _ = strconv.ParseFloat(first, 64)
	}
	m.CopyBytesPerS = copyBandwidth()
	return m
}

func readText(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(b)
}

// copyBandwidth is the best of some copies of memory that no cache holds, in bytes written per second.
func copyBandwidth() float64 {
	defer debug.FreeOSMemory()
	from, to := make([]byte, 128<<20), make([]byte, 128<<20)
	for i := 0; i < len(from); i += 4096 {
		from[i] = byte(i >> 12) // so that there is a page behind each address
	}
	copy(to, from)
	best := time.Duration(1<<63 - 1)
	for range 5 {
		began := time.Now()
		copy(to, from)
		best = min(best, time.Since(began))
	}
	return float64(len(from)) / best.Seconds()
}

// meter reads the energy counters of the processor packages (RAPL), where the system has them and lets this process
// read them.
type meter struct {
	files []string
	begin []float64
}

func startMeter() *meter {
	files, err := filepath.Glob("/sys/class/powercap/intel-rapl:[0-9]*/energy_uj")
	if err != nil {
		return nil
	}
	m := &meter{}
	for _, f := range files {
		if strings.Count(filepath.Dir(f), ":") > 1 {
			continue // a part of a package
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(readText(f)), 64); err == nil {
			m.files, m.begin = append(m.files, f), append(m.begin, v)
		}
	}
	return m
}

// joules is what was used since the start, or nil where it is not known: no counter, or one that began again.
func (m *meter) joules() *float64 {
	if m == nil || len(m.files) == 0 {
		return nil
	}
	sum := 0.0
	for i, f := range m.files {
		v, err := strconv.ParseFloat(strings.TrimSpace(readText(f)), 64)
		if err != nil || v < m.begin[i] {
			return nil
		}
		sum += (v - m.begin[i]) / 1e6
	}
	return &sum
}
