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

// place is where a process runs, and who runs beside it.
type place struct {
	cores int
	// broker and clickhouse are the process ids of the run's servers, or 0 where they are the user's.
	broker, clickhouse int
	// slice is what the process has of the cores, or nil where it has all of them.
	slice *slice
}

// place is some of the machine's cores, beside the servers of the run.
func (b *bench) place(cores int) place {
	p := place{cores: cores}
	if b.kafka != nil {
		p.broker = b.kafka.PID()
	}
	if b.server != nil {
		p.clickhouse = b.server.PID()
	}
	return p
}

// usage is processor time since some beginning: of a process, of those beside it, and of the whole machine.
type usage struct {
	process, broker, clickhouse time.Duration
	busy, idle                  time.Duration // of all cores together
}

// usageOf reads what a process and those beside it have used. What the machine does not tell is 0.
func usageOf(pid int, p place) (usage, error) {
	var u usage
	var err error
	if u.process, err = cpuTime(pid); err != nil {
		return u, err
	}
	for _, beside := range []struct {
		pid int
		to  *time.Duration
	}{{p.broker, &u.broker}, {p.clickhouse, &u.clickhouse}} {
		if beside.pid != 0 {
			if *beside.to, err = cpuTime(beside.pid); err != nil {
				return u, err
			}
		}
	}
	u.busy, u.idle, err = machineTime()
	return u, err
}

// since adds to what was used what has been since before.
func (u usage) since(before usage, to *report.CoreSeconds) {
	process, broker, clickhouse := (u.process - before.process).Seconds(), (u.broker - before.broker).Seconds(), (u.clickhouse - before.clickhouse).Seconds()
	to.Process += process
	to.Broker += broker
	to.ClickHouse += clickhouse
	// The clocks are read one after the other, and count in hundredths of a second.
	to.Others += (u.busy - before.busy).Seconds() - process - broker - clickhouse
	to.Idle += (u.idle - before.idle).Seconds()
}

// machineTime is what all processes have used, and what nobody did.
func machineTime() (busy, idle time.Duration, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read the times of the machine: %w", err)
	}
	return parseMachineTime(string(stat))
}

// parseMachineTime reads the first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal. What another
// machine on the same processor took counts as used.
func parseMachineTime(stat string) (busy, idle time.Duration, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, 0, fmt.Errorf("read the times of the machine: %w", io.ErrUnexpectedEOF)
	}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the times of the machine: %w", err)
		}
		if i == 3 || i == 4 {
			idle += time.Duration(n) * tick
		} else {
			busy += time.Duration(n) * tick
		}
	}
	return busy, idle, nil
}
