package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// CoreSeconds is who used the cores of a machine, all of them, in seconds of one core.
type CoreSeconds struct {
	Process float64 `json:"process"`
	// Broker and ClickHouse are those that the run has started; the user's own are not told apart.
	Broker     float64 `json:"broker"`
	ClickHouse float64 `json:"clickhouse"`
	// Others is everything else: the harness, the system, other programs, other machines on the same processor.
	Others float64 `json:"others"`
	Idle   float64 `json:"idle"`
}

// Mine is what the process and the servers of the run used.
func (c *CoreSeconds) Mine() float64 { return c.Process + c.Broker + c.ClickHouse }

// All is the time of all cores.
func (c *CoreSeconds) All() float64 { return c.Mine() + c.Others + c.Idle }

// Shares is who used the cores of the machine while the contender was busy, in all rounds together and in percent; nil where the machine
// does not tell.
func (r *Result) Shares() *CoreSeconds {
	var sum CoreSeconds
	for _, x := range r.Rounds {
		if c := x.Cores; c != nil {
			sum.Process += c.Process
			sum.Broker += c.Broker
			sum.ClickHouse += c.ClickHouse
			sum.Others += c.Others
			sum.Idle += c.Idle
		}
	}
	all := sum.All()
	if all <= 0 {
		return nil
	}
	for _, v := range []*float64{&sum.Process, &sum.Broker, &sum.ClickHouse, &sum.Others, &sum.Idle} {
		*v = max(0, *v*100/all) // others are what is left over, of clocks that were not read at the same time
	}
	return &sum
}

// writeShares writes who used the cores while each of the contenders had two of them.
func (t *Throughput) writeShares(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range t.Results {
		r := &t.Results[i]
		s := r.Shares()
		if r.Cores < 2 || s == nil {
			continue
		}
		if t.firstShares() == i {
			fmt.Fprintln(w, "who used the machine, %\titself\tbroker\tClickHouse\tothers\tnobody\t")
		}
		fmt.Fprintf(w, "%s, %d cores\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", r.Contender, r.Cores, s.Process, s.Broker, s.ClickHouse, s.Others, s.Idle)
	}
	return w.Flush()
}

// firstShares is the first result of two cores that has shares, or -1.
func (t *Throughput) firstShares() int {
	for i := range t.Results {
		if r := &t.Results[i]; r.Cores > 1 && r.Shares() != nil {
			return i
		}
	}
	return -1
}
