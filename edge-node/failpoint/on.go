//go:build failpoints && unix

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// plan is what this process was told. It is global because a process that dies has nobody to hand it on; it is in no
// binary but those built to die.
var plan struct {
	once sync.Once
	mu   sync.Mutex
	hits map[Point]int // guarded by mu
	do   map[Point][]action
	log  *os.File
}

type action struct {
	signal syscall.Signal
	at     int // the hit at which it happens, from 1
}

// Hit says that a point was come to.
func Hit(p Point) {
	plan.once.Do(load)
	plan.mu.Lock()
	plan.hits[p]++
	n := plan.hits[p]
	plan.mu.Unlock()
	if plan.log != nil {
		// One write: lines of several processes do not mix.
		if _, err := plan.log.WriteString(string(p) + "\n"); err != nil {
			fatal(err)
		}
	}
	for _, a := range plan.do[p] {
		if a.at != n {
			continue
		}
		if err := syscall.Kill(os.Getpid(), a.signal); err != nil {
			fatal(err)
		}
		if a.signal == syscall.SIGKILL {
			select {} // not one step further
		}
	}
}

func load() {
	plan.hits = map[Point]int{}
	var err error
	if plan.do, err = parse(os.Getenv(EnvPoints)); err != nil {
		fatal(err)
	}
	if path := os.Getenv(EnvLog); path != "" {
		if plan.log, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			fatal(err)
		}
	}
}

// fatal ends a process that cannot do what the test wants: going on would look like a test that passed.
func fatal(err error) {
	fmt.Fprintln(os.Stderr, "failpoint:", err)
	os.Exit(99)
}

func parse(text string) (map[Point][]action, error) {
	do := map[Point][]action{}
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		name, rest, _ := strings.Cut(s, "=")
		verb, hit, _ := strings.Cut(rest, "@")
		a := action{at: 1}
		switch verb {
		case "kill":
			a.signal = syscall.SIGKILL
		case "stop":
			a.signal = syscall.SIGSTOP
		default:
			return nil, fmt.Errorf("%s: %q is no action: say kill@N or stop@N", EnvPoints, s)
		}
		if hit != "" {
			var err error
			if a.at, err = strconv.Atoi(hit); err != nil || a.at < 1 {
				return nil, fmt.Errorf("%s: %q: the hit is a number from 1", EnvPoints, s)
			}
		}
		if !slices.Contains(All(), Point(name)) {
			return nil, fmt.Errorf("%s: there is no point %q", EnvPoints, name)
		}
		do[Point(name)] = append(do[Point(name)], a)
	}
	return do, nil
}
