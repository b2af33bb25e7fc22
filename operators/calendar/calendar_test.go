package calendar

import (
	"slices"
	"testing"
	"time"
)

// TestBounds has days that are not 24 hours long, and weeks and months with such days.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		unit             Unit
		zone             string
		at, start, until string
	}{
		{Day, "UTC", "2024-05-01T10:00:00Z", "2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z"},
		{Day, "UTC", "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{Day, "Europe/Berlin", "2024-03-30T22:59:59Z", "2024-03-29T23:00:00Z", "2024-03-30T23:00:00Z"},
		{Day, "Europe/Berlin", "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"}, // 23 hours
		{Day, "Europe/Berlin", "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"}, // 25 hours
		{Week, "Europe/Berlin", "2024-03-31T21:59:59Z", "2024-03-24T23:00:00Z", "2024-03-31T22:00:00Z"},
		{Month, "Europe/Berlin", "2024-03-31T21:59:59Z", "2024-02-29T23:00:00Z", "2024-03-31T22:00:00Z"},
		{Month, "America/New_York", "2025-01-01T04:59:59Z", "2024-12-01T05:00:00Z", "2025-01-01T05:00:00Z"},
		{Day, "Asia/Kathmandu", "2024-05-01T10:00:00Z", "2024-04-30T18:15:00Z", "2024-05-01T18:15:00Z"},
		// There was no midnight: clocks went from 0:00 to 1:00.
		{Day, "America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"},
		// 23:00 to 24:00 came twice.
		{Day, "America/Sao_Paulo", "2019-02-17T02:30:00Z", "2019-02-16T02:00:00Z", "2019-02-17T03:00:00Z"},
		// 0:00 to 1:00 came twice, in one piece.
		{Day, "America/Havana", "2024-11-03T04:30:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
		// A minute behind midnight clocks went back to 23:01 of the day before: that minute is of the day before, too.
		{Day, "America/St_Johns", "2010-11-07T02:30:30Z", "2010-11-06T02:30:00Z", "2010-11-07T03:30:00Z"},
		{Day, "America/St_Johns", "2010-11-07T03:30:00Z", "2010-11-07T03:30:00Z", "2010-11-08T03:30:00Z"},
		// There was no 30th of December.
		{Day, "Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"},
		{Day, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		// Far behind what the table of the zone lists, by its rule.
		{Day, "Europe/Berlin", "2290-07-01T12:00:00Z", "2290-06-30T22:00:00Z", "2290-07-01T22:00:00Z"},
	} {
		zone, err := LoadZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		start, end := (&Calendar{c.unit, zone}).Bounds(at.UnixMicro())
		if got := show(start) + " " + show(end); got != c.start+" "+c.until {
			t.Errorf("%s of %s in %s: %s, want %s %s", c.unit, c.at, c.zone, got, c.start, c.until)
		}
	}
}

func show(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }

// TestTiles walks through every zone there is: every unit begins where the one before ends, every moment of it gives the same
// bounds, and it is not longer than promised.
func TestTiles(t *testing.T) {
	names := Zones()
	if len(names) < 500 {
		t.Fatalf("%d zones", len(names))
	}
	if testing.Short() {
		names = names[:60]
	}
	from, to := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	for _, name := range names {
		zone, err := LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, unit := range []Unit{Day, Week, Month} {
			c := &Calendar{unit, zone}
			start, end := c.Bounds(from)
			for end < to {
				if longest := unit.Longest().Microseconds(); start >= end || end-start > longest {
					t.Fatalf("%s %s: from %s to %s", name, unit, show(start), show(end))
				}
				if s, e := c.Bounds(end - 1); s != start || e != end {
					t.Fatalf("%s %s: from %s to %s, by its last moment from %s to %s", name, unit, show(start), show(end), show(s), show(e))
				}
				last := end
				if start, end = c.Bounds(end); start != last {
					t.Fatalf("%s %s: one ends at %s, and the next begins at %s", name, unit, show(last), show(start))
				}
				if unit == Day { // every 5th, or it takes long
					start, end = c.Bounds(end + 4*24*time.Hour.Microseconds())
				}
			}
		}
	}
}

func TestZoneUnknown(t *testing.T) {
	for _, name := range []string{"", "Local", "Europe", "Europe/", "europe/berlin", "Europe/Bonn", "../zoneinfo.zip"} {
		if z, err := LoadZone(name); err == nil {
			t.Errorf("%q is %s", name, z.Name())
		}
	}
	if !slices.Contains(Zones(), "UTC") {
		t.Error("UTC is no zone")
	}
}
