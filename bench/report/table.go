package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteTable writes what a person looks at first: what each contender took, then the figures with their limits.
func (d *Document) WriteTable(to io.Writer) error {
	m := &d.Machine
	fmt.Fprintf(to, "%s, %d core%s, %s/%s; weir %s, %s, ClickHouse %s\n", m.CPU, m.Cores, plural(m.Cores), m.OS, m.Arch, m.Weir, m.Go, m.ClickHouse)
	for i := range d.Throughput {
		if err := d.Throughput[i].writeTable(to); err != nil {
			return err
		}
	}
	if err := d.writeLive(to); err != nil {
		return err
	}
	if err := d.writeCurves(to); err != nil {
		return err
	}
	if err := d.writeFigures(to); err != nil {
		return err
	}
	if err := d.writeAsked(to); err != nil {
		return err
	}
	for _, n := range d.Notes {
		fmt.Fprintf(to, "note: %s\n", n)
	}
	for _, f := range d.Failed {
		fmt.Fprintf(to, "FAILED: %s\n", f.Reason)
	}
	if d.Interrupted {
		fmt.Fprintf(to, "INTERRUPTED before all was measured; not there, or not whole: %s\n", strings.Join(d.Skipped, ", "))
	}
	for _, w := range d.Wrong() {
		fmt.Fprintf(to, "WRONG: %s\n", w)
	}
	return nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func (t *Throughput) writeTable(to io.Writer) error {
	fmt.Fprintf(to, "\n%s: %s\n%s events of %.0f bytes, %d partitions, %s rows in the answer\n", t.Workload, t.About, Thousands(t.Events), t.RecordSize, t.Partitions, Thousands(int64(t.Rows)))
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tcores\tCPU-s/M\tto bare\tto hand\tevents/s\tpeak MiB\t")
	for i := range t.Results {
		r := &t.Results[i]
		name := r.Contender
		switch {
		case r.LeftOut != "" || r.Wrong != "":
			continue
		case len(r.Rounds) == 0:
			continue
		case r.Ceiling:
			name += " (ceiling)"
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%s\t%s\t%s\t%.0f\t\n", name, r.Cores, Median(r.CPUPerMillion(t.Events)), t.ratioTo("bare", r), t.ratioTo("hand", r),
			Thousands(int64(Median(r.PerSecond(t.Events)))), Median(r.PeakMiB()))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := t.writeShares(to); err != nil {
		return err
	}
	for i := range t.Results {
		if r := &t.Results[i]; r.LeftOut != "" && r.Cores == 1 {
			fmt.Fprintf(to, "  %s: %s\n", r.Contender, r.LeftOut)
		}
	}
	if t.Note != "" {
		fmt.Fprintf(to, "  %s\n", t.Note)
	}
	return nil
}

// ratioTo is the CPU beside another contender's on as many cores, round by round.
func (t *Throughput) ratioTo(other string, r *Result) string {
	o := t.Find(other, r.Cores)
	if o == nil || len(o.Rounds) == 0 || o == r {
		return "-"
	}
	a, b := r.CPUPerMillion(t.Events), o.CPUPerMillion(t.Events)
	var ratios []float64
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return fmt.Sprintf("%.2fx", Median(ratios))
}

func (d *Document) writeLive(to io.Writer) error {
	if len(d.Live) == 0 {
		return nil
	}
	fmt.Fprintln(to, "\nat a given load, records produced to visible in ClickHouse")
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tevents/s\tfor s\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tflush ms\tcaught up s\tpeak MiB\t")
	for _, l := range d.Live {
		latency := "-\t-\t-\t-"
		if l.Latency != nil {
			latency = fmt.Sprintf("%.0f\t%.0f\t%.0f\t%.0f", l.Latency.P50, l.Latency.P99, l.Latency.P999, l.Latency.Max)
		}
		caught := "-"
		if l.OutageS > 0 {
			caught = fmt.Sprintf("%.1f", l.CatchUpS)
		}
		fmt.Fprintf(w, "%s\t%s\t%.0f\t%s\t%.0f\t%s\t%.0f\t\n", l.Name, Thousands(int64(l.Achieved)), l.Seconds, latency, l.FlushMS, caught, float64(l.PeakRSS)/(1<<20))
	}
	return w.Flush()
}

func (d *Document) writeCurves(to io.Writer) error {
	for _, c := range d.Curves {
		fmt.Fprintf(to, "\ncost as %s grow%s\n", c.Name, map[bool]string{true: "s"}[!strings.HasSuffix(c.Name, "s")])
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(w, "%s\tCPU-s/M\tbare consumer\tpeak MiB\t\n", c.Unit)
		for i, p := range c.Points {
			bare, memory := "-", "-"
			if i < len(c.Bare) {
				bare = Number(c.Bare[i].Y)
			}
			if i < len(c.Memory) {
				memory = Number(c.Memory[i].Y)
			}
			fmt.Fprintf(w, "%s\t%.2f\t%s\t%s\t\n", Thousands(int64(p.X)), p.Y, bare, memory)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) writeFigures(to io.Writer) error {
	if len(d.Figures) == 0 {
		return nil
	}
	fmt.Fprintln(to, "\nfigures: medians, with the interval that has the median of more rounds in it")
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for i := range d.Figures {
		f := &d.Figures[i]
		limit := ""
		switch {
		case f.Limit == nil:
		case f.Met():
			limit = "limit " + Number(*f.Limit) + " ok"
		default:
			limit = "limit " + Number(*f.Limit) + " OVER"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", f.Name, Number(f.Value()), intervalText(f.Samples), f.Unit, limit)
	}
	return w.Flush()
}

func intervalText(samples []float64) string {
	if len(samples) < 2 {
		return ""
	}
	v := MedianInterval(samples)
	return fmt.Sprintf("[%s, %s] %.0f %%", Number(v.Low), Number(v.High), v.Confidence*100)
}

// LastLine is the figures in one line, for machines that read logs.
func (d *Document) LastLine() string {
	parts := make([]string, len(d.Figures))
	for i := range d.Figures {
		parts[i] = d.Figures[i].Name + "=" + strconv.FormatFloat(d.Figures[i].Value(), 'g', 3, 64)
	}
	return strings.Join(parts, " ")
}

// Number writes a number with three digits that matter, or all of its integer part.
func Number(v float64) string {
	switch a := max(v, -v); {
	case a >= 1000:
		return Thousands(int64(v))
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// Thousands writes a number with separators.
func Thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(s) - 3; i > first; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
