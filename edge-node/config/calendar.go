package config

import (
	"fmt"

	"github.com/weir-stream/weir/operators/calendar"
)

// Calendar is what windows of the calendar are.
type Calendar struct {
	// Every is how long they are, and Timezone where.
	Every    CalendarUnit
	Timezone *calendar.Zone
}

// CalendarUnit is a unit of the calendar as it is written.
type CalendarUnit string

// The units.
const (
	EveryDay   CalendarUnit = "day"
	EveryWeek  CalendarUnit = "week" // from Monday on
	EveryMonth CalendarUnit = "month"
)

// Unit is the unit as the windows know it.
func (u CalendarUnit) Unit() calendar.Unit {
	switch u {
	case EveryWeek:
		return calendar.Week
	case EveryMonth:
		return calendar.Month
	}
	return calendar.Day
}

// String is "days in Europe/Berlin".
func (c *Calendar) String() string { return fmt.Sprintf("%ss in %s", c.Every, c.Timezone.Name()) }

func calendarTable() object[Calendar] {
	return object[Calendar]{
		what: "calendar",
		fields: []field[Calendar]{
			at("every", enum("a unit of the calendar", []CalendarUnit{EveryDay, EveryWeek, EveryMonth}), func(c *Calendar) *CalendarUnit { return &c.Every },
				"day, week or month. Weeks begin on Mondays.").must(),
			at("timezone", calendarZoneKind(), func(c *Calendar) **calendar.Zone { return &c.Timezone },
				"IANA name of the time zone, such as Europe/Berlin, or UTC. Its rules are part of weir: those of the machine are not used.").must(),
		},
	}
}

// calendarZoneKind is a time zone by its name.
func calendarZoneKind() kind[*calendar.Zone] {
	return kind[*calendar.Zone]{typed("string"), func(r *reader, v value, to **calendar.Zone) bool {
		t, ok := r.text(v, "a time zone such as Europe/Berlin")
		if !ok {
			return false
		}
		zone, err := calendar.LoadZone(t.Value)
		if err != nil {
			e := r.failf(v, "%v", err)
			if near := Nearest(t.Value, calendar.Zones()); near != "" {
				_ = e.WithHint("did you mean %q?", near)
			} else {
				_ = e.WithHint("use an IANA name such as Europe/Berlin, or UTC")
			}
			return false
		}
		*to = zone
		return true
	}}
}
