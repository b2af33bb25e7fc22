// Package uplink is the budget of the link between a node and its destination: how many bytes a second, and in which hours.
//
// One Link is shared by all pipelines of a node. Who is about to store something asks it first (Wait); connections that were made
// through it (Conn) count what really goes over the wire, in both directions, TLS included, headers of TCP and IP not. What was
// sent over the budget is paid off before the next write: the rate holds on average, and a write goes as fast as the link does.
package uplink

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Hours is a stretch of the day, from one time of day to another, which belongs to the next day where it is not later. To is not
// in it.
type Hours struct{ From, To time.Duration }

// ParseHours reads "22:00-06:00".
func ParseHours(s string) (Hours, error) {
	from, to, ok := strings.Cut(s, "-")
	var h Hours
	var err error
	if ok {
		if h.From, err = timeOfDay(from); err == nil {
			h.To, err = timeOfDay(to)
		}
	}
	switch {
	case !ok || err != nil:
		return h, fmt.Errorf("%q are not hours: write them like 22:00-06:00", s)
	case h.From == h.To:
		return h, fmt.Errorf("%q is no time at all: leave the hours out where every hour will do", s)
	}
	return h, nil
}

func timeOfDay(s string) (time.Duration, error) {
	t, err := time.Parse("15:04", strings.TrimSpace(s))
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

// has tells whether a time of day is in the hours.
func (h Hours) has(t time.Duration) bool {
	if h.From < h.To {
		return h.From <= t && t < h.To
	}
	return t >= h.From || t < h.To
}

// Config is a budget. The zero value is none.
type Config struct {
	Rate  int64   // bytes a second on average; 0 is no bound
	Hours []Hours // when something may be sent; none is always
	Zone  *time.Location
}

// Link is a link with a budget. Its methods are safe for concurrent use, and those of a nil Link allow everything.
type Link struct {
	cfg   Config
	bytes atomic.Int64

	mu   sync.Mutex
	paid int64     // guarded by mu: of bytes, what the budget has covered
	at   time.Time // guarded by mu: when
}

// New makes a link, or nil where there is no budget.
func New(cfg Config) *Link {
	if cfg.Rate == 0 && len(cfg.Hours) == 0 {
		return nil
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	return &Link{cfg: cfg}
}

// again is after how long at most a Wait should be asked again: clocks are set, and machines sleep.
const again = 15 * time.Minute

// Wait is how long nothing should be sent, as far as is known now: ask again then. until is when the shipping hours begin; it is
// zero within them.
func (l *Link) Wait(now time.Time) (wait time.Duration, until time.Time) {
	if l == nil {
		return 0, time.Time{}
	}
	if until = l.opens(now); !until.IsZero() {
		return min(max(until.Sub(now), time.Second), again), until
	}
	if l.cfg.Rate == 0 {
		return 0, time.Time{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.bytes.Load()
	if l.at.IsZero() {
		l.at = now
	}
	if more := int64(now.Sub(l.at).Seconds() * float64(l.cfg.Rate)); more > 0 {
		l.paid, l.at = min(l.paid+more, sent), now
	}
	debt := float64(sent - l.paid)
	return min(time.Duration(debt/float64(l.cfg.Rate)*float64(time.Second)), again), time.Time{}
}

// opens is when the next shipping hours begin; zero within them. The hours are those a clock on the wall shows, so that a day on
// which clocks are set has an hour more or less of them.
func (l *Link) opens(now time.Time) time.Time {
	local := now.In(l.cfg.Zone)
	if len(l.cfg.Hours) == 0 || l.open(local) {
		return time.Time{}
	}
	var first time.Time
	y, m, d := local.Date()
	for day := range 3 {
		for _, h := range l.cfg.Hours {
			at := time.Date(y, m, d+day, int(h.From/time.Hour), int(h.From%time.Hour/time.Minute), 0, 0, l.cfg.Zone)
			if at.After(now) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

func (l *Link) open(local time.Time) bool {
	t := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second
	for _, h := range l.cfg.Hours {
		if h.has(t) {
			return true
		}
	}
	return false
}

// Bytes is what went over the link, in both directions.
func (l *Link) Bytes() int64 {
	if l == nil {
		return 0
	}
	return l.bytes.Load()
}

// Conn counts what goes over a connection.
func (l *Link) Conn(c net.Conn) net.Conn {
	if l == nil {
		return c
	}
	return &conn{c, l}
}

type conn struct {
	net.Conn
	l *Link
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.l.bytes.Add(int64(n))
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.l.bytes.Add(int64(n))
	return n, err
}
