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
	virtual                            time.Duration
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
	for _, s := range []struct {
		to   *int
		from int
	}{
		{&t.records, o.tally.records},
		{&t.rows, o.tally.rows},
		{&t.stale, o.tally.stale},
		{&t.letters, o.tally.letters},
		{&t.segments, o.tally.segments},
		{&t.gaps, o.tally.gaps},
		{&t.lostRows, o.tally.lostRows},
		{&t.failures, o.tally.failures},
		{&t.powerCuts, o.tally.powerCuts},
		{&t.checkedLanes, o.tally.checkedLanes},
		{&t.lostLanes, o.tally.lostLanes},
		{&t.tornLanes, o.tally.tornLanes},
		{&t.tooMany, o.tally.tooMany},
		{&t.unbalanced, o.tally.unbalanced},
	} {
		*s.to += s.from
	}
	t.virtual += o.took
}

func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d schedules, %d wrong; %s of virtual time\n", t.schedules, t.wrong, t.virtual.Round(time.Minute))
	fmt.Fprintf(&b, "%d records, %d rows stored of which %d were older than what was there, %d dead letters, %d segments, %d gaps, %d segments that ended with open rows\n", t.records, t.rows, t.stale, t.letters, t.segments, t.gaps, t.lostRows)
	fmt.Fprintf(&b, "%d runs ended with an error; %d power cuts, after which %d lanes of local stores were compared: %d lost, %d torn\n", t.failures, t.powerCuts, t.checkedLanes, t.lostLanes, t.tornLanes)
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
	if t.schedules < many {
		return
	}
	for f := range faults {
		torture.AtLeast(tt, torture.Struck+f.String(), float64(t.hits[f]), "times", 1)
	}
}
