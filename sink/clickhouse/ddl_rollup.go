package clickhouse

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// rollupDef is a view of wider windows: the same partials, merged over more of them.
//
// A row whose window is not in one of the view's as a whole, since others were merged into it, is in a row of its own there, from
// the start of the window that it begins in to the end of that in which it ends.
//
// Windows of which the table may have dropped a part are left out. The start of a window is a function of window_start that a
// server can look up in the index, as far as it knows that the function grows: so a reader who asks for some days reads no others.
func rollupDef(cfg Config, t *sink.Table, r *sink.Rollup) viewDef {
	w := viewWindow{where: counting(cfg.Database, t), outer: []string{"_from AS window_start", "_to AS window_end"}}
	const last = "window_end - toIntervalMillisecond(1)" // of the moments of a window
	settings := ""
	if ordersTimes(t) || r.Global() {
		settings += plainAggregates
	}
	switch {
	case r.Global():
		w.inner = []string{"min(window_start) AS _from", "max(window_end) AS _to"}
		if len(r.Keys) == 0 {
			w.group = []string{"tuple()"} // and so no row where there is none
		}
	case r.Calendar != nil:
		settings += ",\n    enable_extended_results_for_datetime_functions = 1" // or times before 1970 are those of 1970
		w.inner = []string{unitAt(r.Calendar, "window_start", 0) + " AS _from", unitAt(r.Calendar, last, 1) + " AS _to"}
	default:
		from, to := "window_start", last
		shift := ""
		if r.Offset > 0 {
			shift = fmt.Sprintf(" - toIntervalMillisecond(%d)", r.Offset.Milliseconds())
		}
		every := fmt.Sprintf("toIntervalMillisecond(%d)", r.Every.Milliseconds())
		back := func(more time.Duration) string {
			if more == 0 {
				return ""
			}
			return fmt.Sprintf(" + toIntervalMillisecond(%d)", more.Milliseconds())
		}
		w.inner = []string{
			fmt.Sprintf("toStartOfInterval(%s%s, %s)%s AS _from", from, shift, every, back(r.Offset)),
			fmt.Sprintf("toStartOfInterval(%s%s, %s)%s AS _to", to, shift, every, back(r.Offset+r.Every)),
		}
	}
	if !r.Global() {
		w.group = []string{"_from", "_to"}
		if cfg.TTL > 0 {
			w.where += fmt.Sprintf("\n        AND _from >= now64(3, 'UTC') - toIntervalSecond(%d)", int64(cfg.TTL/time.Second))
		}
	}
	var keys []batch.Field
	for _, k := range r.Keys {
		i := slices.IndexFunc(t.Keys, func(f batch.Field) bool { return f.Name == k })
		keys = append(keys, t.Keys[i])
	}
	v := viewDef{name: r.Name}
	v.columns, v.query = merging(cfg, t, keys, w)
	v.query += settings
	v.compute(r.Computed)
	return v
}

// unitAt is the midnight with which the unit of a calendar begins that has a moment, or the one so many units on.
func unitAt(c *sink.Calendar, moment string, on int) string {
	zone := quote(c.Zone)
	if c.Unit == "day" && on == 0 { // by itself a server can look it up in the index
		return fmt.Sprintf("toTimeZone(toStartOfDay(%s, %s), 'UTC')", moment, zone)
	}
	unit := units[c.Unit]
	day := fmt.Sprintf("%s(%s, %s)", unit.first, moment, zone)
	if on > 0 {
		day = fmt.Sprintf("%s(%s, %d)", unit.add, day, on)
	}
	// A date becomes a moment of its day, which is not the first one where midnight comes twice.
	return fmt.Sprintf("toTimeZone(toStartOfDay(toDateTime64(%s, 3, %s)), 'UTC')", day, zone)
}

// units are the server's functions of the first day of a unit, and of the one some units on.
var units = map[string]struct{ first, add string }{
	"day": {"toDate32", "addDays"}, "week": {"toMonday", "addWeeks"}, "month": {"toStartOfMonth", "addMonths"},
}

// zoneName is what the name of a time zone looks like.
var zoneName = regexp.MustCompile(`^[A-Za-z0-9_+/-]{1,64}$`)

// checkRollups refuses roll-ups that could not become views.
func checkRollups(t *sink.Table) error {
	seen := map[string]bool{}
	for i := range t.Rollups {
		r := &t.Rollups[i]
		switch {
		case t.Sessions:
			return fmt.Errorf("roll-up %s: sessions are not rolled up", r.Name)
		case !name.MatchString(r.Name) || seen[r.Name]:
			return fmt.Errorf("roll-up %q cannot be a view, or is there twice: use a letter, then letters, digits and _", r.Name)
		case r.Calendar != nil && (r.Every != 0 || units[r.Calendar.Unit].first == "" || !zoneName.MatchString(r.Calendar.Zone)):
			return fmt.Errorf("roll-up %s: %+v is no calendar", r.Name, *r.Calendar)
		case r.Every < 0 || r.Every%time.Millisecond != 0 || r.Offset < 0 || r.Offset%time.Millisecond != 0:
			return fmt.Errorf("roll-up %s: windows of %s from %s on are not whole milliseconds", r.Name, r.Every, r.Offset)
		}
		for _, k := range r.Keys {
			if !slices.ContainsFunc(t.Keys, func(f batch.Field) bool { return f.Name == k }) {
				return fmt.Errorf("roll-up %s: %q is no key of the table", r.Name, k)
			}
		}
		seen[r.Name] = true
	}
	return nil
}
