package libchdb

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"
)

// reporter tells a person how far a fetch is. It is safe for concurrent use.
type reporter struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	open     bool // a moving line has been written and not ended
	step     int  // the last tenth printed as a plain line
}

func newReporter(w io.Writer) *reporter {
	if w == nil {
		w = io.Discard
	}
	f, ok := w.(*os.File)
	return &reporter{w: w, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (r *reporter) line(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endMoving()
	fmt.Fprintf(r.w, "libchdb: "+format+"\n", args...)
}

// moving shows n of total. Away from a terminal it prints one line a quarter.
func (r *reporter) moving(what string, n, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	percent := int(min(100, n*100/max(1, total)))
	if r.terminal {
		fmt.Fprintf(r.w, "\rlibchdb: %s %3d%%  %s of %s\033[K", what, percent, megabytes(n), megabytes(total))
		r.open = true
		return
	}
	if step := percent / 25; step > r.step {
		r.step = step
		fmt.Fprintf(r.w, "libchdb: %s %d%% (%s of %s)\n", what, percent, megabytes(n), megabytes(total))
	}
}

func (r *reporter) restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endMoving()
	r.step = 0
}

func (r *reporter) endMoving() {
	if r.open {
		fmt.Fprintln(r.w)
		r.open = false
	}
}

// watch reports the growth of the largest file below dir, or in the client's own cache not at all: clients that
// download elsewhere first show nothing until they copy. The returned function stops it and waits.
func (r *reporter) watch(what, dir string, total int64) func() {
	r.restart()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		started := time.Now()
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				if n := largestFile(dir); n > 0 {
					r.moving(what, n, total)
				} else if i%20 == 0 {
					r.line("%s: %d s", what, int(time.Since(started).Seconds()))
				}
			}
		}
	}()
	return func() { close(stop); <-stopped; r.restart() }
}

func largestFile(dir string) int64 {
	var largest int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // the client is writing here: files come and go
		}
		if fi, err := d.Info(); err == nil {
			largest = max(largest, fi.Size())
		}
		return nil
	})
	return largest
}

// counter is a writer that reports how much passed through it.
type counter struct {
	r     *reporter
	what  string
	n     int64
	total int64
	last  time.Time
}

func (r *reporter) counter(what string, total int64) *counter {
	r.restart()
	return &counter{r: r, what: what, total: total}
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	if now := time.Now(); now.Sub(c.last) > 100*time.Millisecond {
		c.last = now
		c.r.moving(c.what, c.n, c.total)
	}
	return len(p), nil
}

func (c *counter) done() {
	c.r.moving(c.what, c.n, c.total)
	c.r.restart()
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", n/1_000_000) }
