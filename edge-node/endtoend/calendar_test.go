package endtoend

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/operators/calendar"
)

// TestCalendarAgrees asks ClickHouse where days, weeks and months of a zone begin, at every change of clocks and at moments in
// between, and compares.
func TestCalendarAgrees(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := openClickHouse(t, embeddedtest.ClickHouse(t))
	from, to := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range []string{
		"UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/St_Johns", "Asia/Beirut", "Asia/Kathmandu",
		"Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Pacific/Chatham",
	} {
		zone, err := calendar.LoadZone(name)
		if err != nil {
			t.Fatal(err)
		}
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Skip("the machine has no time zones to find changes of clocks with:", err)
		}
		var at []int64
		for now := from; now.Before(to); {
			_, change := now.In(location).ZoneBounds()
			if change.IsZero() || change.After(to) {
				break
			}
			for _, d := range []time.Duration{-25 * time.Hour, -time.Hour, -time.Second, 0, time.Second, 59 * time.Minute, time.Hour, 25 * time.Hour} {
				at = append(at, change.Add(d).Unix())
			}
			now = change
		}
		for now := from; now.Before(to); now = now.Add(1013 * time.Hour) {
			at = append(at, now.Unix())
		}
		// A date has no time: when it begins in the zone is asked of a moment in it.
		rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT
    toInt64(at), toInt64(toUnixTimestamp(toStartOfDay(toDateTime(at, '%[1]s')))),
    toInt64(toUnixTimestamp(toStartOfDay(toDateTime(toMonday(toDateTime(at, '%[1]s')), '%[1]s')))),
    toInt64(toUnixTimestamp(toStartOfDay(toDateTime(toStartOfMonth(toDateTime(at, '%[1]s')), '%[1]s'))))
FROM (SELECT arrayJoin(?) AS at)`, name), at)
		if err != nil {
			t.Fatal(err)
		}
		n, differ := 0, 0
		for rows.Next() {
			var moment, day, week, month int64
			if err := rows.Scan(&moment, &day, &week, &month); err != nil {
				t.Fatal(err)
			}
			n++
			for unit, want := range map[calendar.Unit]int64{calendar.Day: day, calendar.Week: week, calendar.Month: month} {
				if start, _ := (&calendar.Calendar{Unit: unit, Zone: zone}).Bounds(moment * 1e6); start != want*1e6 && differ < 5 {
					differ++
					t.Errorf("%s of %s in %s begins at %s, ClickHouse says %s", unit, time.Unix(moment, 0).UTC(), name, time.UnixMicro(start).UTC(), time.Unix(want, 0).UTC())
				}
			}
		}
		if err := rows.Err(); err != nil || n != len(at) {
			t.Fatalf("%d answers of %d, %v", n, len(at), err)
		}
	}
}
