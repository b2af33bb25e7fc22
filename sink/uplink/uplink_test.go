package uplink

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func hours(t *testing.T, texts ...string) []Hours {
	t.Helper()
	var all []Hours
	for _, s := range texts {
		h, err := ParseHours(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

// TestHours asks for times in a zone that sets its clocks.
func TestHours(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("SKIPPED, nothing was tested: ", err)
	}
	night := New(Config{Hours: hours(t, "22:00-06:00"), Zone: zone})
	two := New(Config{Hours: hours(t, "02:30-03:30", "12:00-13:00"), Zone: zone})
	for _, c := range []struct {
		link       *Link
		now, until string // until empty: open
	}{
		{night, "2026-11-21T22:00:00+01:00", ""},
		{night, "2026-11-21T05:59:59+01:00", ""},
		{night, "2026-11-21T06:00:00+01:00", "2026-11-21T22:00:00+01:00"},
		{night, "2026-11-21T12:00:00Z", "2026-11-21T22:00:00+01:00"},
		// Clocks go forward at 02:00 and back at 03:00: the wall decides.
		{night, "2026-03-29T03:30:00+02:00", ""},
		{night, "2026-03-29T07:00:00+02:00", "2026-03-29T22:00:00+02:00"},
		{night, "2026-03-28T12:00:00+01:00", "2026-03-28T22:00:00+01:00"},
		{night, "2026-10-25T05:30:00+01:00", ""},
		{two, "2026-03-29T03:29:00+02:00", ""},
		{two, "2026-10-25T02:45:00+02:00", ""},
		{two, "2026-10-25T02:45:00+01:00", ""},
		{two, "2026-11-21T03:30:00+01:00", "2026-11-21T12:00:00+01:00"},
		{two, "2026-11-21T13:00:00+01:00", "2026-11-22T02:30:00+01:00"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		wait, until := c.link.Wait(now)
		got := ""
		if !until.IsZero() {
			got = until.Format(time.RFC3339)
		}
		if got != c.until || (wait > 0) != (c.until != "") || wait > again {
			t.Errorf("%s: until %q in %s, want %q", c.now, got, wait, c.until)
		}
	}
	for _, bad := range []string{"", "22:00", "22:00-22:00", "25:00-06:00", "22-06", "22:00-06:60"} {
		if h, err := ParseHours(bad); err == nil {
			t.Errorf("%q was taken for %v", bad, h)
		}
	}
}

// TestHoursComeTrue waits through a year in steps that Wait says, and is never early.
func TestHoursComeTrue(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip("SKIPPED, nothing was tested: ", err)
	}
	l := New(Config{Hours: hours(t, "02:00-02:45"), Zone: zone})
	now, days := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 0
	for end := now.AddDate(1, 0, 0); now.Before(end); {
		wait, _ := l.Wait(now)
		if wait > 0 {
			now = now.Add(wait)
			continue
		}
		if local := now.In(zone); local.Hour() != 2 || local.Minute() >= 45 {
			t.Fatalf("open at %s", local)
		}
		days++
		now = now.Add(90 * time.Minute)
	}
	if days < 364 { // on one night there is no such hour
		t.Errorf("it was open on %d days", days)
	}
}

// TestRate sends as fast as Wait allows.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Rate: 10_000})
		a, b := net.Pipe()
		c := l.Conn(a)
		go func() { _, _ = io.Copy(io.Discard, b) }()
		began, sent := time.Now(), 0
		for time.Since(began) < 10*time.Minute {
			if wait, _ := l.Wait(time.Now()); wait > 0 {
				time.Sleep(wait)
				continue
			}
			n, err := c.Write(make([]byte, 25_000))
			if err != nil {
				t.Fatal(err)
			}
			sent += n
			time.Sleep(10 * time.Millisecond)
		}
		if per := float64(sent) / time.Since(began).Seconds(); per < 9_500 || per > 10_500 {
			t.Errorf("%.0f bytes a second", per)
		}
		if l.Bytes() != int64(sent) {
			t.Errorf("%d bytes counted, %d sent", l.Bytes(), sent)
		}
		// Time in which nothing was sent is not saved up.
		time.Sleep(time.Hour)
		_, _ = l.Wait(time.Now())
		for range 2 {
			if _, err := c.Write(make([]byte, 50_000)); err != nil {
				t.Fatal(err)
			}
			_, _ = l.Wait(time.Now())
		}
		if wait, _ := l.Wait(time.Now()); wait < 9*time.Second {
			t.Errorf("after an hour of rest and 100000 bytes, the wait is %s", wait)
		}
		_, _ = a.Close(), b.Close()
	})
	var none *Link
	if wait, until := none.Wait(time.Now()); wait != 0 || !until.IsZero() || New(Config{}) != nil {
		t.Error("no budget, and it waits")
	}
}
