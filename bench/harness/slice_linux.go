package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// slice is a control group whose processes have a share of the time of the processor. They run as fast as ever, and then not at all until the
// next period.
type slice struct{ dir string }

// slicePeriod is short beside anything that is measured, and long beside a switch from one process to another.
const slicePeriod = 20 * time.Millisecond

// newSlice makes one that has a share of the time of each of some cores. It takes a system that lets
// this process make control groups, which mostly means root.
func newSlice(share float64, cores int) (*slice, error) {
	name := fmt.Sprintf("weir-bench-%d-%d", os.Getpid(), cores)
	period := int(slicePeriod.Microseconds())
	quota := int(share * float64(cores*period))
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil { // version 2
		return makeSlice(filepath.Join("/sys/fs/cgroup", name), []setting{{"cpu.max", fmt.Sprintf("%d %d", quota, period)}})
	}
	return makeSlice(filepath.Join("/sys/fs/cgroup/cpu", name), []setting{{"cpu.cfs_period_us", strconv.Itoa(period)}, {"cpu.cfs_quota_us", strconv.Itoa(quota)}})
}

// setting is a file of a control group and what it is to have.
type setting struct{ file, value string }

func makeSlice(dir string, settings []setting) (*slice, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	s := &slice{dir}
	for _, x := range settings {
		if err := os.WriteFile(filepath.Join(dir, x.file), []byte(x.value), 0o644); err != nil {
			return nil, errors.Join(fmt.Errorf("set up a control group: %w", err), s.close())
		}
	}
	return s, nil
}

// add puts a process into it.
func (s *slice) add(pid int) error {
	if err := os.WriteFile(filepath.Join(s.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("put process %d into a control group: %w", pid, err)
	}
	return nil
}

// close removes it, when its processes have ended.
func (s *slice) close() error {
	var err error
	for range 100 {
		if err = os.Remove(s.dir); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // what has ended leaves it a moment later
	}
	return fmt.Errorf("remove a control group: %w", err)
}
