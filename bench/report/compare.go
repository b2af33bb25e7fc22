package report

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

// Verdict is what can be said about a figure of two runs.
type Verdict string

// The verdicts.
const (
	// Worse and Better: the medians differ by more than the threshold, and the intervals do not overlap.
	Worse  Verdict = "worse"
	Better Verdict = "better"
	// Same: neither.
	Same Verdict = "same"
	// Unclear: the medians differ by more than the threshold, and the intervals overlap. More rounds would tell.
	Unclear Verdict = "unclear"
	// NotJudged: a time, which depends on the machine and on what else it did.
	NotJudged Verdict = "not judged"
	// Gone: in the first run alone. New: in the second alone.
	Gone Verdict = "gone"
	New  Verdict = "new"
)

// Change is a figure in two runs.
type Change struct {
	Name    string   `json:"name"`
	Unit    string   `json:"unit"`
	Kind    Kind     `json:"kind"`
	A       float64  `json:"a"`
	B       float64  `json:"b"`
	AIn     Interval `json:"a_interval"`
	BIn     Interval `json:"b_interval"`
	Percent float64  `json:"percent"` // of B against A; above 0 is more
	Verdict Verdict  `json:"verdict"`
}

// Comparison is two runs beside each other.
type Comparison struct {
	Changes []Change `json:"changes"`
	// Notes say why figures should not be compared.
	Notes []string `json:"notes,omitempty"`
	// Regression tells that a figure that is judged is worse, or that the second run had wrong answers.
	Regression bool `json:"regression"`
}

// Compare sets run b beside run a. threshold is the least change of a median that counts, as a share: 0.05 is 5 %.
//
// With n rounds the interval of a median is at most as sure as 1 - 2/2^n: 75 % of 3 rounds, 94 % of 5, 97 % of 6. That two
// intervals do not overlap by chance is rarer than that one of them misses. What was measured once must have moved by four
// times the threshold.
func Compare(a, b *Document, threshold float64) *Comparison {
	c := &Comparison{Notes: differences(a, b)}
	for i := range a.Figures {
		f := &a.Figures[i]
		g := find(b.Figures, f.Name)
		change := Change{Name: f.Name, Unit: f.Unit, Kind: f.Kind, A: f.Value(), AIn: MedianInterval(f.Samples)}
		if g == nil {
			change.Verdict = Gone
			c.Changes = append(c.Changes, change)
			continue
		}
		change.B, change.BIn = g.Value(), MedianInterval(g.Samples)
		change.Percent = percent(change.A, change.B)
		change.Verdict = judge(f, change, threshold)
		c.Regression = c.Regression || change.Verdict == Worse
		c.Changes = append(c.Changes, change)
	}
	for i := range b.Figures {
		if f := &b.Figures[i]; find(a.Figures, f.Name) == nil {
			c.Changes = append(c.Changes, Change{Name: f.Name, Unit: f.Unit, Kind: f.Kind, B: f.Value(), BIn: MedianInterval(f.Samples), Verdict: New})
		}
	}
	for _, w := range b.Wrong() {
		c.Notes = append(c.Notes, "the second run had a wrong answer: "+w)
		c.Regression = true
	}
	return c
}

func find(figures []Figure, name string) *Figure {
	for i := range figures {
		if figures[i].Name == name {
			return &figures[i]
		}
	}
	return nil
}

func percent(a, b float64) float64 {
	switch {
	case a == b:
		return 0
	case a == 0:
		return math.Copysign(100, b)
	}
	return (b - a) / math.Abs(a) * 100
}

func judge(f *Figure, c Change, threshold float64) Verdict {
	if f.Kind == Time {
		return NotJudged
	}
	if math.Abs(c.Percent) <= threshold*100 {
		return Same
	}
	if c.AIn.High >= c.BIn.Low && c.BIn.High >= c.AIn.Low {
		return Unclear
	}
	// One round says nothing of how much rounds differ.
	if once := c.AIn.Confidence <= 0 || c.BIn.Confidence <= 0; once && math.Abs(c.Percent) <= 4*threshold*100 {
		return Unclear
	}
	if (c.B > c.A) == f.More {
		return Better
	}
	return Worse
}

// differences lists what makes two runs hard to compare.
func differences(a, b *Document) []string {
	var out []string
	say := func(what string, x, y any) {
		if x != y {
			out = append(out, fmt.Sprintf("%s differs: %v and %v", what, x, y))
		}
	}
	say("the processor", a.Machine.CPU, b.Machine.CPU)
	say("the number of cores", a.Machine.Cores, b.Machine.Cores)
	say("the version of Go", a.Machine.Go, b.Machine.Go)
	say("the version of ClickHouse", a.Machine.ClickHouse, b.Machine.ClickHouse)
	say("the number of events", a.Options.Events, b.Options.Events)
	say("the number of partitions", a.Options.Partitions, b.Options.Partitions)
	say("the seed", a.Options.Seed, b.Options.Seed)
	for i, d := range []*Document{a, b} {
		if d.Machine.LoadBefore > 0.5*float64(max(1, d.Machine.Cores)) {
			out = append(out, fmt.Sprintf("the machine of the %s run was at work before it began: load %.1f", [...]string{"first", "second"}[i], d.Machine.LoadBefore))
		}
	}
	return out
}

// WriteTable writes the comparison for a person.
func (c *Comparison) WriteTable(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tA\tinterval\tB\tinterval\tchange\tverdict\t")
	for _, x := range c.Changes {
		a, b, change := Number(x.A), Number(x.B), fmt.Sprintf("%+.1f %%", x.Percent)
		switch x.Verdict {
		case Gone:
			b, change = "-", "-"
		case New:
			a, change = "-", "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", x.Name, a, shortInterval(x.AIn), b, shortInterval(x.BIn), change, x.Verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range c.Notes {
		fmt.Fprintf(to, "note: %s\n", n)
	}
	worse, unclear := 0, 0
	for _, x := range c.Changes {
		switch x.Verdict {
		case Worse:
			worse++
		case Unclear:
			unclear++
		}
	}
	switch {
	case c.Regression:
		fmt.Fprintf(to, "\nregression: %d figure%s clearly worse\n", worse, plural(worse))
	case unclear > 0:
		fmt.Fprintf(to, "\nno clear regression; %d figure%s unclear: more --rounds would tell\n", unclear, plural(unclear))
	default:
		fmt.Fprintln(to, "\nno regression")
	}
	return nil
}

func shortInterval(v Interval) string {
	if v.Confidence <= 0 {
		return "-"
	}
	return fmt.Sprintf("[%s, %s] %.0f %%", Number(v.Low), Number(v.High), v.Confidence*100)
}
