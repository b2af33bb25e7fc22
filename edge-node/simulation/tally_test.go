package simulation

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/torture"
)

// tally counts what happened in schedules.
type tally struct {
	sync.Mutex
	hits map[fault]int

	schedules, wrong                   int
	records, rows, stale, letters      int
	segments, gaps, lostRows           int // lostRows: segments that begin behind one with open rows
	failures                           int // runs that ended with an error
	powerCuts                          int
	checkedLanes, lostLanes, tornLanes int // of the local store, after a power cut
	tooMany                            int // inserts refused because of too many parts
	unbalanced                         int // accounts that do not add up
	told, toldAgain                    int // windows that were told of as final, and how often one was once more
	virtual                            time.Duration

	deaths []uint64 // seeds of schedules that the database ended with a panic, over bits that were turned
}

// figures are the counters that schedules have.
func (t *tally) figures() []*int {
	return []*int{
		&t.records, &t.rows, &t.stale, &t.letters, &t.segments, &t.gaps, &t.lostRows, &t.failures, &t.powerCuts,
		&t.checkedLanes, &t.lostLanes, &t.tornLanes, &t.tooMany, &t.unbalanced, &t.told, &t.toldAgain,
	}
}

// tallied is the tally of a schedule on its way from the process that played it.
type tallied struct {
	Hits    map[fault]int `json:"hits"`
	Figures []int         `json:"figures"`
}

func (t *tally) send() tallied {
	s := tallied{Hits: t.hits}
	for _, f := range t.figures() {
		s.Figures = append(s.Figures, *f)
	}
	return s
}

func (s *tallied) received() *tally {
	t := &tally{hits: s.Hits}
	for i, f := range t.figures() {
		*f = s.Figures[i]
	}
	return t
}

// add adds what a schedule counted.
func (t *tally) add(o outcome) {
	t.Lock()
	defer t.Unlock()
	if t.hits == nil {
		t.hits = map[fault]int{}
	}
	t.schedules++
	if len(o.problems) > 0 {
		t.wrong++
	}
	for f, n := range o.tally.hits {
		t.hits[f] += n
	}
	one := o.tally.figures()
	for i, f := range t.figures() {
		*f += *one[i]
	}
	t.virtual += o.took
}

func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d schedules, %d wrong; %s of virtual time\n", t.schedules, t.wrong, t.virtual.Round(time.Minute))
	fmt.Fprintf(&b, "%d records, %d rows stored of which %d were older than what was there, %d dead letters, %d segments, %d gaps, %d segments that ended with open rows\n", t.records, t.rows, t.stale, t.letters, t.segments, t.gaps, t.lostRows)
	fmt.Fprintf(&b, "%d runs ended with an error; %d power cuts, after which %d lanes of local stores were compared: %d lost, %d torn\n", t.failures, t.powerCuts, t.checkedLanes, t.lostLanes, t.tornLanes)
	fmt.Fprintf(&b, "%d windows told of on site when they were final, and %d times once more\n", t.told, t.toldAgain)
	if len(t.deaths) > 0 {
		fmt.Fprintf(&b, "besides, the database panicked over turned bits in %d schedules, which ended there: seeds %d\n", len(t.deaths), t.deaths)
	}
	b.WriteString("faults that struck:\n")
	for f := range faults {
		fmt.Fprintf(&b, "  %8d  %s\n", t.hits[f], f)
	}
	return b.String()
}

// many is from how many schedules on every kind of fault must have struck.
const many = 1000

// record keeps the figures, and holds them to their limits.
func (t *tally) record(tt *testing.T) {
	tt.Log(t)
	torture.Record(tt, "wrong totals", float64(t.wrong), fmt.Sprintf("of %d schedules", t.schedules), 0)
	torture.Record(tt, "acknowledged commits lost", float64(t.lostLanes), fmt.Sprintf("of %d, after %d simulated power cuts", t.checkedLanes, t.powerCuts), 0)
	torture.Record(tt, "conservation imbalance", float64(t.unbalanced), fmt.Sprintf("accounts that do not add up, in %s of virtual time", t.virtual.Round(time.Hour)), 0)
	torture.Record(tt, "commits torn", float64(t.tornLanes), fmt.Sprintf("of %d, after %d simulated power cuts", t.checkedLanes, t.powerCuts), 0)
	torture.Record(tt, "panics of the database over turned bits", float64(len(t.deaths)), fmt.Sprintf("beside %d schedules", t.schedules), float64(t.schedules/many+1),
		"each ended its schedule; that the next process copes is a test of the store's")
	if t.schedules < many {
		return
	}
	for f := range faults {
		torture.AtLeast(tt, torture.Struck+f.String(), float64(t.hits[f]), "times", 1)
	}
}
