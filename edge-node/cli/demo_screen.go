package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// demoScreen shows live what the demo does: a few lines that are drawn over on a terminal, a line a second elsewhere.
type demoScreen struct {
	d     *demo
	out   io.Writer
	every time.Duration
	lines int // drawn last time, on a terminal
	live  bool

	began       time.Time
	lastRecords int64
	lastAt      time.Time
}

func newDemoScreen(d *demo) *demoScreen {
	s := &demoScreen{d: d, out: d.a.stderr, every: time.Second, began: time.Now(), lastAt: time.Now()}
	if terminal(d.a.stderr) {
		s.live, s.every = true, 250*time.Millisecond
	}
	return s
}

// show draws the state of things; windows is how many ClickHouse has.
func (s *demoScreen) show(windows int64) {
	st := s.d.runner.Status()
	var records, aggregated, late, filtered, rejected, lag int64
	var oldest, newest time.Time
	for _, l := range st.Engine.Lanes {
		records += l.Records
		aggregated += l.Aggregated
		late += l.Late
		filtered += l.Filtered
		lag += l.Lag
		for reason, n := range l.Rejected {
			if reason != "late" {
				rejected += n
			}
		}
		if w := l.Watermark; !w.IsZero() {
			if oldest.IsZero() || w.Before(oldest) {
				oldest = w
			}
			if w.After(newest) {
				newest = w
			}
		}
	}
	now := time.Now()
	rate := float64(records-s.lastRecords) / now.Sub(s.lastAt).Seconds()
	s.lastRecords, s.lastAt = records, now
	watermark := "none yet"
	if !oldest.IsZero() {
		watermark = oldest.Format("15:04:05.0")
	}
	if !s.live {
		fmt.Fprintf(s.out, "%4.0fs  produced %s  read %s (%s/s)  watermark %s  windows %d  late %s  filtered %s  rejected %s\n",
			now.Sub(s.began).Seconds(), thousands(s.d.produced.Load()), thousands(records), thousands(int64(rate)), watermark,
			windows, thousands(late), thousands(filtered), thousands(rejected))
		return
	}
	const width = 32
	done := min(width, int(float64(width)*float64(records)/float64(s.d.events)))
	text := []string{
		fmt.Sprintf("  [%s%s] %s of %s readings", strings.Repeat("=", done), strings.Repeat(" ", width-done), thousands(records), thousands(s.d.events)),
		fmt.Sprintf("  %-12s %12s records/s    behind the producer by %s", "read", thousands(int64(rate)), thousands(max(0, s.d.produced.Load()-records))),
		fmt.Sprintf("  %-12s %12s              event time, oldest of %d partitions", "watermark", watermark, len(st.Engine.Lanes)),
		fmt.Sprintf("  %-12s %12s in ClickHouse, %s rows shipped", "windows", thousands(windows), thousands(st.Delivery.Rows)),
		fmt.Sprintf("  %-12s %12s rows in windows, %s late, %s filtered, %s rejected", "accounted", thousands(aggregated), thousands(late), thousands(filtered), thousands(rejected)),
	}
	if s.lines > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA", s.lines)
	}
	for _, line := range text {
		fmt.Fprintf(s.out, "\x1b[2K%s\n", line)
	}
	s.lines = len(text)
}

// end leaves the last picture standing.
func (s *demoScreen) end() { s.lines = 0 }
