package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Outcome is what became of a number that weir is to keep.
type Outcome string

// The outcomes.
const (
	Kept        Outcome = "met"
	NotKept     Outcome = "not met"
	NotMeasured Outcome = "not measured"
)

// Target is a number that weir is to keep, on 2 cores of a machine that does nothing else, and what a run found.
type Target struct {
	What string `json:"what"`
	// Figure is the figure it is about.
	Figure string `json:"figure"`
	// Asked is what the median must not exceed, or must reach where AtLeast is set.
	Asked    float64   `json:"asked"`
	AtLeast  bool      `json:"at_least,omitempty"`
	Unit     string    `json:"unit"`
	Measured *float64  `json:"measured,omitempty"` // the median, or nil
	Samples  []float64 `json:"samples,omitempty"`
	Outcome  Outcome   `json:"outcome"`
	Note     string    `json:"note,omitempty"`
}

// targets are the numbers that weir is to keep.
func targets() []Target {
	return []Target{
		{What: "W1, one core: CPU per event beside a bare franz-go consumer", Figure: "cpu_ratio_to_bare_consumer", Asked: 2.5, Unit: "x"},
		{What: "W1, one core: CPU per event beside Go written by hand", Figure: "cpu_ratio_to_hand_written", Asked: 1.5, Unit: "x"},
		{What: "W2, one core: CPU per event beside Go written by hand", Figure: "project.cpu_ratio_to_hand_written", Asked: 1.3, Unit: "x"},
		{What: "JSON decode of a record of 120 bytes, 6 columns read", Figure: "decode_ns_per_record", Asked: 150, Unit: "ns"},
		{What: "Arrow input into windows, rows a second and core", Figure: "arrow_mrows_per_s", Asked: 10, AtLeast: true, Unit: "million/s"},
		{What: "W1: events a second on 2 cores beside one", Figure: "speed_on_2_cores", Asked: 1.8, AtLeast: true, Unit: "x"},
		{What: "W1: the same on the halves of 2 cores, beside the half of one", Figure: "speed_on_2_halves", Asked: 1.8, AtLeast: true, Unit: "x"},
		{What: "W1: greatest CPU per event from 1 to 64 partitions beside that of 1", Figure: "cost_growth_with_partitions", Asked: 1.15, Unit: "x"},
		{What: "W1: greatest CPU per event from 1 to 50 million events beside that of 1 million", Figure: "cost_growth_with_events", Asked: 1.15, Unit: "x"},
		{What: "W1 at half load: p99 from produce to visible, beyond the flush interval", Figure: "latency_p99_beyond_flush", Asked: 250, Unit: "ms"},
		{What: "W1 at full load, 10,000 keys: peak resident memory", Figure: "peak_memory_10000_keys", Asked: 256, Unit: "MiB"},
		{What: "start of a node that has run before to its first record", Figure: "start_to_first_record", Asked: 150, Unit: "ms"},
	}
}

// Judge sets what was found beside what weir is to keep.
func (d *Document) Judge() {
	d.Asked = targets()
	for i := range d.Asked {
		t := &d.Asked[i]
		t.Outcome = NotMeasured
		f := find(d.Figures, t.Figure)
		if f == nil {
			continue
		}
		v := f.Value()
		t.Measured, t.Samples, t.Note = &v, f.Samples, f.Note
		switch kept := v <= t.Asked; {
		case t.AtLeast && v < t.Asked || !t.AtLeast && !kept:
			t.Outcome = NotKept
		case !f.Easier:
			t.Outcome = Kept
		}
	}
}

// Asks writes what is asked for.
func (t *Target) Asks() string {
	if t.AtLeast {
		return "at least " + Number(t.Asked)
	}
	return "at most " + Number(t.Asked)
}

// Found writes what was measured.
func (t *Target) Found() string {
	if t.Measured == nil {
		return "-"
	}
	return Number(*t.Measured)
}

func (d *Document) writeAsked(to io.Writer) error {
	if len(d.Asked) == 0 {
		return nil
	}
	fmt.Fprintln(to, "\nasked and measured")
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	others := 0
	for i := range d.Asked {
		t := &d.Asked[i]
		if t.Measured == nil && !d.Options.Brief { // not all was to be measured
			others++
			continue
		}
		fmt.Fprintf(w, "  %s\t%s %s\t%s\t%s\t%s\n", t.What, t.Asks(), t.Unit, t.Found(), intervalText(t.Samples), t.Outcome)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if others > 0 {
		fmt.Fprintf(to, "  not measured, as it was not asked for: %d more\n", others)
	}
	for i := range d.Asked {
		if t := &d.Asked[i]; t.Note != "" {
			fmt.Fprintf(to, "    %s: %s\n", t.Figure, t.Note)
		}
	}
	return nil
}
