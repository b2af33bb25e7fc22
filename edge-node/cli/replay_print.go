package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weir-stream/weir/edge-node/replay"
)

var replayColumns = []column{
	newColumn("topic", "String"), newColumn("partition", "UInt32"), newColumn("segment", "UInt64"), newColumn("offsets", "String"),
	newColumn("records", "Int64"), newColumn("rows", "Int64"), newColumn("dead_letters", "Int64"), newColumn("verdict", "String"),
}

// printReplay writes a line per segment, what differs, what was left out, and the verdict.
func (a *app) printReplay(o *replaying, r *replay.Report) error {
	s := newTableSheet(a.stdout)
	if err := s.begin(replayColumns); err != nil {
		return err
	}
	for _, g := range r.Segments {
		cells := []any{g.Topic, uint32(g.Partition), g.Segment, span(g.From, g.To), g.Records, compared(&g.Rows), compared(&g.Letters), segmentVerdict(g)}
		if err := s.row(cells); err != nil {
			return err
		}
	}
	for _, g := range r.Others {
		if err := s.row([]any{g.Topic, uint32(g.Partition), g.Segment, "none", int64(0), int64(0), int64(0), "revision " + g.Revision}); err != nil {
			return err
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	var rows, letters replay.Tally
	unlisted := int64(0)
	for _, g := range r.Segments {
		addTally(&rows, &g.Rows)
		addTally(&letters, &g.Letters)
		unlisted += a.printSegment(g)
	}
	if unlisted > 0 {
		fmt.Fprintf(a.stdout, "and %s more; --differences lists more of them\n", count(unlisted, "difference"))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(a.stdout, "note   %s\n", printable(n))
	}
	if n := len(r.Others); n > 0 {
		fmt.Fprintf(a.stdout, "note   %s of other revisions: this file cannot build them again\n", count(n, "segment"))
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n", r.Pipeline, verdictOf(o, r, &rows, &letters))
	return err
}

func addTally(to, t *replay.Tally) {
	to.Identical += t.Identical
	to.Differing += t.Differing
	to.Missing += t.Missing
	to.Surplus += t.Surplus
	to.Sent += t.Sent
}

func compared(t *replay.Tally) int64 { return t.Identical + t.Differing + t.Missing + t.Surplus }

func span(from, to int64) string {
	if to <= from {
		return "none"
	}
	return fmt.Sprintf("%d to %d", from, to-1)
}

func segmentVerdict(s *replay.Segment) string {
	switch {
	case s.Refused != "":
		return "NOT COMPARED"
	case s.Differs():
		return "DIFFERS"
	case s.Gone != nil:
		return "INCOMPLETE"
	case s.Rows.Sent+s.Letters.Sent > 0:
		return "stored again"
	}
	return "identical"
}

// printSegment writes what is to be said of a segment, and counts the differences that it does not list.
func (a *app) printSegment(s *replay.Segment) (unlisted int64) {
	where := printable(fmt.Sprintf("%s/%d segment %d", s.Topic, s.Partition, s.Segment))
	line := func(kind, format string, args ...any) {
		fmt.Fprintf(a.stdout, "%-8s%s: %s\n", kind, where, printable(fmt.Sprintf(format, args...)))
	}
	if s.Refused != "" {
		line("REFUSED", "%s", s.Refused)
	}
	for _, f := range s.Faults {
		line("FAULT", "%s", f)
	}
	for _, d := range s.Differences {
		line(differenceKind(&d), "%s", describeDifference(&d))
	}
	if g := s.Gone; g != nil {
		line("GONE", "offsets %s are not in the log any more: windows%s cannot be built again", span(g.From, g.To), windowSpan(g))
	}
	for _, k := range s.Skipped {
		windows := ""
		if k.Windows > 0 {
			windows = " of " + count(k.Windows, "window")
		}
		line("skipped", "%s %s%s: %s", thousands(k.Count), k.What, windows, k.Why)
	}
	for _, n := range s.Notes {
		line("note", "%s", n)
	}
	all := compared(&s.Rows) - s.Rows.Identical + compared(&s.Letters) - s.Letters.Identical
	return max(0, all-int64(len(s.Differences)))
}

func differenceKind(d *replay.Difference) string {
	if d.Sent {
		return "stored"
	}
	return strings.ToUpper(d.Kind)
}

func describeDifference(d *replay.Difference) string {
	var b strings.Builder
	if d.Window != nil {
		fmt.Fprintf(&b, "window %s key %s", d.Window.Format(time.RFC3339Nano), d.Key)
	} else if d.Offset != nil {
		fmt.Fprintf(&b, "dead letter of offset %d, step %s", *d.Offset, d.Step)
	}
	if d.Version > 0 {
		fmt.Fprintf(&b, " version %d", d.Version)
	}
	if d.Kind == "missing" {
		b.WriteString(" was not stored")
	}
	for _, c := range d.Columns {
		fmt.Fprintf(&b, "; %s: ", c.Column)
		switch {
		case c.Log == nil:
			fmt.Fprintf(&b, "%s stored", c.Stored)
		case c.Stored == nil:
			fmt.Fprintf(&b, "%s from the log", c.Log)
		default:
			fmt.Fprintf(&b, "%s stored, %s from the log", c.Stored, c.Log)
		}
	}
	return b.String()
}

func windowSpan(g *replay.Gone) string {
	text := ""
	if g.WindowsFrom != nil {
		text += " from " + g.WindowsFrom.Format(time.RFC3339Nano)
	}
	if g.WindowsTo != nil {
		text += " to before " + g.WindowsTo.Format(time.RFC3339Nano)
	}
	return text
}

func verdictOf(o *replaying, r *replay.Report, rows, letters *replay.Tally) string {
	refused, gone, faults := 0, 0, 0
	for _, s := range r.Segments {
		faults += len(s.Faults)
		if s.Refused != "" {
			refused++
		}
		if s.Gone != nil {
			gone++
		}
	}
	var parts []string
	add := func(n int64, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", thousands(n), what))
		}
	}
	add(rows.Sent, "rows stored again")
	add(letters.Sent, "dead letters stored again")
	add(rows.Missing+rows.Differing-rows.Sent, "rows missing or different")
	add(rows.Surplus, "rows that the log does not give")
	add(letters.Missing+letters.Differing-letters.Sent, "dead letters missing or different")
	add(letters.Surplus, "dead letters that the log does not give")
	add(int64(faults), "faults in accounts")
	add(int64(refused), "segments that could not be built again")
	add(int64(gone), "segments of which the log no longer has everything")
	same := fmt.Sprintf("identical: %s, %s", count(rows.Identical, "row"), count(letters.Identical, "dead letter"))
	if len(parts) == 0 {
		if o.resend {
			return "nothing is missing; " + same
		}
		return same
	}
	return strings.Join(parts, ", ") + "; " + same
}

// readProgress shows how far reading has come: a line that is drawn over on a terminal, and a line now and then elsewhere.
type readProgress struct {
	out   io.Writer
	live  bool
	drawn bool
	said  time.Time
}

// sayEvery is how often progress is said where it cannot be drawn over.
const sayEvery = 10 * time.Second

func newReadProgress(out io.Writer) *readProgress {
	return &readProgress{out: out, live: terminal(out), said: time.Now()}
}

func (p *readProgress) show(at replay.Progress) {
	if !p.live && time.Since(p.said) < sayEvery {
		return
	}
	p.said = time.Now()
	took := time.Since(at.Began).Seconds()
	doing, share, left := "reading", 1.0, "?"
	if at.Sending {
		doing = "storing"
	}
	if at.To > at.From {
		share = float64(at.Offset-at.From) / float64(at.To-at.From)
	}
	if share > 0 {
		left = time.Duration(took * (1 - share) / share * float64(time.Second)).Round(time.Second).String()
	}
	text := fmt.Sprintf("%s %s segment %d: %3.0f %%, %s records/s, %s left", doing, printable(at.Partition.String()), at.Segment,
		100*share, thousands(int64(float64(at.Records)/max(took, 0.001))), left)
	if p.live {
		fmt.Fprintf(p.out, "\r%s\x1b[K", text)
		p.drawn = true
		return
	}
	fmt.Fprintln(p.out, text)
}

// end clears what is drawn.
func (p *readProgress) end() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
