package config

import (
	"strings"
	"time"

	"github.com/weir-stream/weir/operators/aggregate"
)

// Time is where event time comes from.
type Time struct {
	// Column is the timestamp column that holds the event time, after the steps.
	Column Ident
	// MaxOutOfOrder is how far behind the newest row of its partition a row may come without being late: the watermark
	// trails the newest event time by it. Default 0.
	MaxOutOfOrder time.Duration
	// AllowedLateness is how long behind the watermark a window still takes rows. Default 0.
	AllowedLateness time.Duration
	// MaxJump is the most by which one row may move the event time ahead before others confirm it. 0 means no limit, the default.
	MaxJump time.Duration
}

// Window is what is aggregated.
type Window struct {
	// Tumbling is the length of the windows; they begin at multiples of it since 1970 in UTC. Whole milliseconds.
	Tumbling time.Duration
	// GroupBy are the columns that make the key, in order. There may be none.
	GroupBy []Ident
	// Aggregates are the answers, in order.
	Aggregates []Aggregate
}

func timeTable() object[Time] {
	const century = 100 * 365 * 24 * time.Hour
	return object[Time]{
		what: "time",
		fields: []field[Time]{
			at("column", identKind(), func(t *Time) *Ident { return &t.Column }, "Timestamp column with the event time.").must(),
			at("max_out_of_order", durationKind(0, century), func(t *Time) *time.Duration { return &t.MaxOutOfOrder },
				"How far behind the newest row of its partition a row may come without being late. Default 0."),
			at("allowed_lateness", durationKind(0, century), func(t *Time) *time.Duration { return &t.AllowedLateness },
				"How long behind the watermark a window still takes rows. Default 0."),
			at("max_jump", durationKind(time.Millisecond, century), func(t *Time) *time.Duration { return &t.MaxJump },
				"The most by which one row may move the event time ahead before others confirm it. Default: no limit."),
		},
	}
}

func windowTable() object[Window] {
	return object[Window]{
		what: "window",
		fields: []field[Window]{
			at("tumbling", windowLength(), func(w *Window) *time.Duration { return &w.Tumbling },
				"Length of the windows; they begin at multiples of it since 1970 in UTC.").must(),
			at("group_by", groupByKind(), func(w *Window) *[]Ident { return &w.GroupBy }, "Columns that make the key."),
			at("aggregates", named("a mapping of names to aggregates", answerKind(), func(name string, pos Pos, a Aggregate) Aggregate {
				a.Name, a.Pos = name, pos
				return a
			}), func(w *Window) *[]Aggregate { return &w.Aggregates },
				"The answers: name: function(arguments), with "+strings.Join(aggregate.Names(), " ")+"; or name: {wasm: …} for a function of yours.").must(),
			later[Window]("hopping", "supported: tumbling"), later[Window]("session", "supported: tumbling"),
			later[Window]("count", "supported: tumbling"), later[Window]("global", "supported: tumbling"),
		},
		check: checkWindow,
	}
}

func windowLength() kind[time.Duration] {
	k := durationKind(time.Millisecond, 366*24*time.Hour)
	return kind[time.Duration]{k.schema, func(r *reader, v value, to *time.Duration) bool {
		var d time.Duration
		if !k.read(r, v, &d) {
			return false
		}
		if d%time.Millisecond != 0 {
			r.failf(v, "%s is not whole milliseconds", d)
			return false
		}
		*to = d
		return true
	}}
}

// groupByKind is a list that may be empty: then a window has one row.
func groupByKind() kind[[]Ident] {
	item := identKind()
	s := typed("array")
	s["items"] = item.schema
	return kind[[]Ident]{s, func(r *reader, v value, to *[]Ident) bool {
		items, ok := r.list(v, "a list of columns")
		for _, it := range items {
			var id Ident
			if item.read(r, it, &id) {
				*to = append(*to, id)
			}
		}
		return ok
	}}
}

func checkWindow(r *reader, v value, w *Window) {
	seen := map[string]bool{}
	for _, k := range w.GroupBy {
		if seen[k.Name] {
			r.addf(k.Pos, v.path+".group_by", "window.group_by: the column %s is here twice", quote(k.Name))
		}
		seen[k.Name] = true
	}
	for _, a := range w.Aggregates {
		if err := CheckName(a.Name); err != nil {
			r.addf(a.Pos, v.path+".aggregates", "window.aggregates: %v", err)
		}
	}
}
