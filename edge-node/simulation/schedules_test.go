package simulation

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds   = flag.Int("seeds", 100, "schedules to play")
	seed    = flag.Uint64("seed", 1, "the first of them; given alone, the only one")
	here    = flag.Bool("here", false, "play all schedules in this process, for a profile of it")
	force   = flag.String("force", "", "kinds of faults that every schedule has, as the tally names them, with commas between")
	verbose = flag.Bool("logs", false, "print what the nodes log")
)

// TestSchedules plays schedules, and every one must end with the right answer. One is played in this process, several in others, see
// children_test.go.
func TestSchedules(t *testing.T) {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	from, n := *seed, *seeds
	if given["seed"] && !given["seeds"] {
		n = 1
	}
	if testing.Short() {
		n = min(n, 20)
	}
	var all tally
	switch {
	case *child:
		playForParent(t, from, n)
		return
	case n > 1 && !*here:
		playInChildren(t, from, n, &all)
	default:
		t.Run("seed", func(t *testing.T) {
			for i := range n {
				s := from + uint64(i)
				t.Run(fmt.Sprint(s), func(t *testing.T) {
					t.Parallel()
					out := run(t, newPlanOf(s, forced(t)))
					all.add(out)
					report(t, out)
				})
			}
		})
	}
	all.record(t)
}

// forced has plans have the kinds of faults that the flag names, and what those need.
func forced(t *testing.T) func(p *plan) {
	if *force == "" {
		return nil
	}
	var kinds []fault
	for _, name := range strings.Split(*force, ",") {
		i := slices.IndexFunc(drafts, func(d draft) bool { return d.fault.String() == strings.TrimSpace(name) })
		if i < 0 {
			t.Fatalf("there is no kind of fault %q that is drawn", name)
		}
		kinds = append(kinds, drafts[i].fault)
	}
	return func(p *plan) {
		p.forced = append(p.forced, kinds...)
		for _, d := range drafts {
			if slices.Contains(kinds, d.fault) && !d.fits(p) {
				p.store, p.nodes = true, max(p.nodes, 2)
			}
		}
	}
}

// outcome is what a schedule came to.
type outcome struct {
	seed     uint64
	plan     string
	problems []string
	notes    []string
	tally    *tally
	took     time.Duration // in virtual time
}

// run plays a schedule in a bubble.
func run(t *testing.T, pl *plan) outcome {
	out := outcome{seed: pl.seed, plan: pl.String()}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pl)
		if *verbose {
			fmt.Println(pl)
		}
		w.play()
		w.calmDown()
		if w.rest() {
			w.verdict()
		}
		w.close()
		w.summarize()
		out.problems, out.notes, out.tally, out.took = w.told.problems, w.told.notes, &w.tally, time.Since(w.began)
	})
	return out
}

// again is the command that plays a schedule once more.
func again(seed uint64) string {
	command := fmt.Sprintf("go test ./edge-node/simulation -run 'TestSchedules$' -args -seed=%d", seed)
	if *force != "" {
		command += fmt.Sprintf(" -force='%s'", *force)
	}
	return command
}

func report(t *testing.T, out outcome) {
	t.Helper()
	if len(out.problems) == 0 {
		return
	}
	t.Errorf("seed %d is wrong; again:\n\t%s\n%s\nwhat happened:\n  %s\nwhat is wrong:\n  %s",
		out.seed, again(out.seed), out.plan, strings.Join(out.notes, "\n  "), strings.Join(out.problems, "\n  "))
}

// calmDown ends all faults, and has every node run.
func (w *world) calmDown() {
	w.note("the faults stop")
	w.calm()
	w.road.away.Store(false)
	w.road.flaky.Store(0)
	w.brokerGone(false)
	for _, n := range w.nodes {
		w.mu.Lock()
		p := n.now
		w.mu.Unlock()
		if p != nil {
			p.cutOff(false)
			p.thaw(false)
		}
	}
	for _, n := range w.nodes[:w.plan.begin] {
		w.want(n, true)
	}
}

// rest waits until everything is accounted for and what was late has come. It tells whether that happened.
func (w *world) rest() bool {
	for until := time.Now().Add(w.plan.rest); time.Now().Before(until) && !w.isWrong(); {
		done := true
		for _, p := range w.places() {
			log := w.logOf(p)
			done = done && w.centre.reached(p) == log.end()
		}
		if done {
			_ = sleep(w.life, 6*time.Minute) // the latest of late inserts
			return !w.isWrong()
		}
		_ = sleep(w.life, time.Second)
		w.remedy()
	}
	if !w.isWrong() {
		w.wrong("the world did not come to rest in %s", w.plan.rest)
		for _, p := range w.places() {
			w.wrong("    %s: accounted for up to %d, the log ends at %d", p, w.centre.reached(p), w.logOf(p).end())
		}
		w.wrong("    the group: %+v", w.broker().GroupInfo("weir"))
		for _, n := range w.nodes {
			if n.now != nil && n.now.alive() == nil {
				st := n.now.engine.Status()
				w.wrong("    %s: problems %v", n.name, st.Problems)
				for _, l := range st.Lanes {
					w.wrong("    %s: %+v", n.name, l)
				}
			}
		}
	}
	return false
}

// close ends everything that runs.
func (w *world) close() {
	for _, n := range w.nodes {
		w.want(n, false)
	}
	w.end()
	w.background.Wait()
	w.admin.Close()
	w.broker().Close()
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
}

// summarize counts what is there in the end.
func (w *world) summarize() {
	c := w.centre
	w.tally.rows, w.tally.stale, w.tally.letters = int(c.taken), int(c.stale), len(c.letters)
	w.tally.segments, w.tally.tooMany = len(c.coverage), int(c.tooMany)
	for _, cov := range c.coverage {
		if cov.Gap > 0 {
			w.tally.gaps++
		}
	}
}
