package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many schedules are played in processes of their own, one at a time in each. A panic of the database in the background ends a process
// whatever anybody does, and then it is known which schedule it was, and the others are played all the same. Where bits of a store had
// been turned in that schedule, and the panic is the database's own, that is a death by damage: weir's process would end as well,
// and the next one would look after the store (sink/spool has the tests). It is counted and named apart. All else that ends a process is a
// failure.

var child = flag.Bool("child", false, "play for another process, which reads what happened from file descriptor 3")

const (
	// perChild is how many schedules a process plays at most: what it has in memory goes with it.
	perChild = 100
	// patience is for how long a process may say nothing.
	patience = 10 * time.Minute
	// progress is told after so many schedules.
	progress = 500
)

// line is what a process says of a schedule: that it begins, that bits of a store are being turned, and what came of it.
type line struct {
	Seed    uint64  `json:"seed"`
	Damaged bool    `json:"damaged,omitempty"`
	Ended   *played `json:"ended,omitempty"`
}

type played struct {
	Plan     string        `json:"plan"`
	Problems []string      `json:"problems"`
	Notes    []string      `json:"notes,omitempty"` // where there are problems
	Tally    tallied       `json:"tally"`
	Took     time.Duration `json:"took"`
}

// playForParent plays schedules, and says so.
func playForParent(t *testing.T, from uint64, n int) {
	to := json.NewEncoder(os.NewFile(3, "what happened"))
	say := func(l line) {
		if err := to.Encode(l); err != nil {
			os.Exit(1) // nobody listens
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // the parent is gone
	}()
	for s := from; s < from+uint64(n); s++ {
		say(line{Seed: s})
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			pl := newPlanOf(s, forced(t))
			pl.damage = func() { say(line{Seed: s, Damaged: true}) }
			out := run(t, pl)
			p := &played{Plan: out.plan, Problems: out.problems, Tally: out.tally.send(), Took: out.took}
			if len(p.Problems) > 0 {
				p.Notes = out.notes
			}
			say(line{Seed: s, Ended: p})
		})
	}
}

// parent has schedules played.
type parent struct {
	t     *testing.T
	all   *tally
	total int
	began time.Time

	mu   sync.Mutex
	told int // guarded by mu: schedules that ended, when progress was told last
}

// playInChildren plays schedules in as many processes at a time as tests run in parallel.
func playInChildren(t *testing.T, from uint64, n int, all *tally) {
	p := &parent{t: t, all: all, total: n, began: time.Now()}
	workers, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	each := min(perChild, (n+workers-1)/workers)
	chunks := make(chan [2]uint64)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for c := range chunks {
				for next, end := c[0], c[1]; next < end; {
					next = p.child(next, end)
				}
			}
		})
	}
	for s, end := from, from+uint64(n); s < end; s += uint64(each) {
		chunks <- [2]uint64{s, min(s+uint64(each), end)}
	}
	close(chunks)
	done.Wait()
}

// child has one process play schedules, and returns which is to be played next: end, or the one behind that which ended the process.
func (p *parent) child(from, end uint64) (next uint64) {
	t := p.t
	fail := func(err error) uint64 {
		t.Errorf("play the schedules from %d on: %v", from, err)
		return end
	}
	output, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(output.Name())
	defer output.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSchedules$", "-test.timeout=0", "-test.v="+strconv.FormatBool(*verbose),
		"-child", fmt.Sprint("-seed=", from), fmt.Sprint("-seeds=", end-from), "-force="+*force, fmt.Sprint("-logs=", *verbose))
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stdout, cmd.Stderr = output, output
	if *verbose {
		cmd.Stdout = io.MultiWriter(output, os.Stdout)
		cmd.Stderr = cmd.Stdout
	}
	stdin, err := cmd.StdinPipe() // it ends with this process
	if err != nil {
		return fail(errors.Join(err, w.Close()))
	}
	defer stdin.Close()
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fail(err)
	}
	silent := time.AfterFunc(patience, cancel)
	defer silent.Stop()
	at, damaged, ended := from, false, true
	lines := json.NewDecoder(r)
	for {
		var l line
		if err := lines.Decode(&l); err != nil {
			break // it ended, or was ended in the middle of a line
		}
		silent.Reset(patience)
		switch {
		case l.Ended != nil:
			ended = true
			p.take(l.Seed, l.Ended)
		case l.Damaged:
			damaged = true
		default:
			if !ended {
				t.Errorf("seed %d came to no end; again:\n\t%s", at, again(at))
			}
			at, damaged, ended = l.Seed, false, false
		}
	}
	err = cmd.Wait()
	switch {
	case ended && err == nil && at == end-1:
		return end
	case ended && at == end-1:
		t.Errorf("the process that played the schedules %d to %d: %v\n%s", from, at, err, panicIn(output.Name()))
		return end
	}
	what := panicIn(output.Name())
	if !ended && damaged && ofDatabase(what) {
		t.Logf("seed %d: bits of a store were turned, and the database ended the process; it is not played to its end; again:\n\t%s\n%s", at, again(at), what)
		p.all.Lock()
		p.all.deaths = append(p.all.deaths, at)
		p.all.Unlock()
	} else {
		t.Errorf("seed %d ended the process that played it (%v); again:\n\t%s\n%s", at, err, again(at), what)
	}
	return at + 1
}

// take takes what came of a schedule.
func (p *parent) take(seed uint64, e *played) {
	out := outcome{seed: seed, plan: e.Plan, problems: e.Problems, notes: e.Notes, tally: e.Tally.received(), took: e.Took}
	p.all.add(out)
	report(p.t, out)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.Lock()
	n, wrong, deaths := p.all.schedules, p.all.wrong, len(p.all.deaths)
	p.all.Unlock()
	if n/progress > p.told/progress {
		p.t.Logf("%d of %d schedules, %d wrong, %d ended by the database over turned bits, %s", n, p.total, wrong, deaths, time.Since(p.began).Round(time.Second))
	}
	p.told = n
}

var panics = regexp.MustCompile(`(?m)^(panic|fatal error): `)

// panicIn is what Go wrote of a panic: what it was, and the goroutine in which it happened. Without one it is the end of the output.
func panicIn(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	text := string(b)
	at := panics.FindStringIndex(text)
	if at == nil {
		return text[max(0, len(text)-4<<10):]
	}
	what, rest, _ := strings.Cut(text[at[0]:], "\ngoroutine ")
	stack, _, _ := strings.Cut(rest, "\n\n")
	return what + "\ngoroutine " + stack
}

// ofDatabase tells whether a text of panicIn is of a panic in a goroutine that the database had started.
func ofDatabase(what string) bool {
	return strings.HasPrefix(what, "panic: ") && strings.Contains(what, "cockroachdb/pebble/") && !strings.Contains(what, "weir-stream/weir/")
}

// TestDeaths tells deaths by damage from panics that are a bug of weir.
func TestDeaths(t *testing.T) {
	for _, c := range []struct {
		name, output string
		ofDatabase   bool
	}{
		{"the database", "=== RUN TestSchedules\npanic: pebble: invariant violation\n\ngoroutine 31 [running, synctest bubble 7]:\ngithub.com/cockroachdb/pebble/v2/internal/compact.(*Iter).Next()\n" +
			"created by github.com/cockroachdb/pebble/v2.(*DB).maybeScheduleFlush in goroutine 9\n\ngoroutine 1 [select]:\ngithub.com/weir-stream/weir/edge-node/simulation.run()\n", true},
		{"called by weir", "panic: pebble: closed\n\ngoroutine 31 [running]:\ngithub.com/cockroachdb/pebble/v2.(*DB).Get()\ngithub.com/weir-stream/weir/sink/spool.(*Store).Get()\n\n", false},
		{"weir", "panic: runtime error\n\ngoroutine 31 [running]:\ngithub.com/weir-stream/weir/edge-node/engine.(*lane).run()\n\ngoroutine 32 [select]:\ngithub.com/cockroachdb/pebble/v2.(*DB).Get()\n", false},
		{"a lock", "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [select]:\ngithub.com/cockroachdb/pebble/v2.(*DB).Get()\n", false},
		{"killed", "=== RUN TestSchedules\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := t.TempDir() + "/output"
			if err := os.WriteFile(file, []byte(c.output), 0o600); err != nil {
				t.Fatal(err)
			}
			if got := ofDatabase(panicIn(file)); got != c.ofDatabase {
				t.Errorf("of the database: %t", got)
			}
		})
	}
}
