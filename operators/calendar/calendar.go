// Package calendar cuts time into the days, weeks and months of a time zone. It says nothing about windows: package window asks it
// where they begin. What it answers is a function of its arguments and of the rules that are part of the binary.
//
// A unit begins at midnight of its first day, and ends where the next begins, so that units tile time: days have 23 or 25 hours where
// clocks are changed. Where a midnight is skipped, the day begins with the first moment behind it; where it comes twice, with the
// first, unless a piece of the day before comes between the two. That is what ClickHouse's toStartOfDay does.
package calendar

import (
	"fmt"
	"time"
)

// Unit is a stretch of the calendar.
type Unit uint8

// The units. Weeks begin on Mondays.
const (
	Day Unit = iota + 1
	Week
	Month
)

// String is the unit as it is written in a pipeline.
func (u Unit) String() string {
	switch u {
	case Day:
		return "day"
	case Week:
		return "week"
	case Month:
		return "month"
	}
	return fmt.Sprintf("unit %d", uint8(u))
}

// Longest is more than any unit of the kind takes, in any zone.
func (u Unit) Longest() time.Duration {
	const day = 24 * time.Hour
	switch u {
	case Day:
		return 2*day + time.Hour // a day is there twice where a place moves over the date line
	case Week:
		return 8*day + time.Hour
	}
	return 32*day + time.Hour
}

// Calendar is a unit in a zone.
type Calendar struct {
	Unit Unit
	Zone *Zone
}

// Bounds is where the unit begins and ends that holds a time; all in microseconds since 1970, the end not included.
func (c *Calendar) Bounds(us int64) (start, end int64) {
	at := us / 1e6
	if us%1e6 < 0 {
		at--
	}
	first := c.first(time.Unix(at, 0).In(c.Zone.location))
	next := c.add(first, 1)
	from, to := c.Zone.midnight(first), c.Zone.midnight(next)
	// The date of a moment can be that of a neighbour where clocks are changed about midnight.
	for at < from {
		next, to = first, from
		first = c.add(first, -1)
		from = c.Zone.midnight(first)
	}
	for at >= to {
		first, from = next, to
		next = c.add(next, 1)
		to = c.Zone.midnight(next)
	}
	return from * 1e6, to * 1e6
}

// first is the first day of the unit that a local time is in, as a midnight in UTC.
func (c *Calendar) first(t time.Time) time.Time {
	y, m, d := t.Date()
	switch c.Unit {
	case Week:
		d -= (int(t.Weekday()) + 6) % 7
	case Month:
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// add goes n units on.
func (c *Calendar) add(first time.Time, n int) time.Time {
	switch c.Unit {
	case Week:
		return first.AddDate(0, 0, 7*n)
	case Month:
		return first.AddDate(0, n, 0)
	}
	return first.AddDate(0, 0, n)
}

// midnight is when a day, given as its midnight in UTC, begins in the zone; in seconds since 1970.
func (z *Zone) midnight(day time.Time) int64 {
	const aDay = 24 * 60 * 60 // more than any zone is from UTC
	utc := day.Unix()
	sooner, later := time.Unix(utc-aDay, 0).In(z.location), time.Unix(utc+aDay, 0).In(z.location)
	_, before := sooner.Zone()
	_, after := later.Zone()
	if before == after {
		return utc - int64(before)
	}
	// The clocks are changed meanwhile.
	change := utc + aDay
	for t := sooner; ; {
		_, end := t.ZoneBounds()
		if end.IsZero() || end.Unix() >= change {
			break
		}
		if _, offset := end.Zone(); offset != before {
			change = end.Unix()
			break
		}
		t = end
	}
	old, fresh := utc-int64(before), utc-int64(after)
	switch isOld, isFresh := old < change, fresh >= change; {
	case isOld && isFresh && fresh > change:
		return fresh // between the two there is a piece of the day before
	case isOld:
		return old
	case isFresh:
		return fresh
	}
	return change
}
