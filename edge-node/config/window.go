package config

import (
	"math"
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
	// Size is the length of the windows, and Every how far apart they begin: tumbling ones a Size apart, so that a row is in one;
	// hopping ones nearer together. Offset is how long after multiples of Every since 1970 in UTC they begin. Whole milliseconds.
	Size, Every, Offset time.Duration
	hopping             *Hopping // as written
	// Calendar makes windows of days, weeks or months of a time zone; then Size, Every and Offset are 0.
	Calendar *Calendar
	// Session makes windows of one key each, as long as its rows follow one another; then Size and Every are the length of the stretches
	// that none of them goes beyond.
	Session *Session
	// Count makes windows of one key and so many rows each; then Size and Every are the timeout.
	Count *Count
	// Emit says when a window is shipped. Default updates.
	Emit Emit
	// GroupBy are the columns that make the key, in order. There may be none.
	GroupBy []Ident
	// MaxKeys is how many keys a window of a partition keeps apart; rows of more count in one. 0 is no limit, the default.
	MaxKeys int64
	// Aggregates are the answers, in order.
	Aggregates []Aggregate
	// Compute are columns of the finished view: expressions over keys, answers, and the window's start and end. They change no row
	// that is stored.
	Compute []Assign
	// Rollups are views of wider windows over the same rows, in order.
	Rollups []Rollup
}

// Length is how long windows are, for people: "10s", or "day".
func (w *Window) Length() string {
	if w.Calendar != nil {
		return string(w.Calendar.Every)
	}
	if w.Session != nil {
		return "session " + FormatDuration(w.Session.Gap)
	}
	if w.Count != nil {
		return w.Count.String()
	}
	return FormatDuration(w.Size)
}

// Emit is when a window is shipped.
type Emit string

// The times.
const (
	EmitUpdates Emit = "updates" // whenever it has changed
	EmitFinal   Emit = "final"   // when it takes no more rows
)

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
			at("tumbling", windowLength(time.Millisecond), func(w *Window) *time.Duration { return &w.Size },
				"Length of windows that follow one another; they begin at multiples of it since 1970 in UTC."),
			at("hopping", hoppingTable().pointer(func() Hopping { return Hopping{} }), func(w *Window) **Hopping { return &w.hopping },
				"Windows that overlap: their size, and how far apart they begin."),
			at("calendar", calendarTable().pointer(func() Calendar { return Calendar{} }), func(w *Window) **Calendar { return &w.Calendar },
				"Days, weeks or months of a time zone, of 23 or 25 hours where clocks are changed."),
			at("session", sessionTable().pointer(func() Session { return Session{MaxLength: defaultMaxLength} }), func(w *Window) **Session { return &w.Session },
				"Windows of one key each, that end when no row has come for a while."),
			at("count", countTable().pointer(func() Count { return Count{Timeout: defaultTimeout} }), func(w *Window) **Count { return &w.Count },
				"Windows of one key each, that end when it has had so many rows."),
			at("offset", windowLength(0), func(w *Window) *time.Duration { return &w.Offset },
				"How long after those multiples windows begin. Default 0."),
			at("emit", enum("a time to ship windows", []Emit{EmitUpdates, EmitFinal}), func(w *Window) *Emit { return &w.Emit },
				"updates: a window is shipped whenever it has changed, and is right up to the moment; final: it is shipped once, when it takes no more rows. Default updates."),
			at("group_by", groupByKind(), func(w *Window) *[]Ident { return &w.GroupBy }, "Columns that make the key."),
			at("max_keys", intKind(1, math.MaxInt32), func(w *Window) *int64 { return &w.MaxKeys },
				"How many keys a window of a partition keeps apart, the first in the log. Rows of others count in one row whose _overflow is true. Default: no limit."),
			at("aggregates", named("a mapping of names to aggregates", answerKind(), func(name string, pos Pos, a Aggregate) Aggregate {
				a.Name, a.Pos = name, pos
				return a
			}), func(w *Window) *[]Aggregate { return &w.Aggregates },
				"The answers: name: function(arguments), with "+strings.Join(aggregate.Names(), " ")+"; or name: {wasm: …} for a function of yours.").must(),
			at("compute", named("a mapping of names to expressions", located("an expression"), func(name string, pos Pos, t Text) Assign { return Assign{name, pos, t} }),
				func(w *Window) *[]Assign { return &w.Compute },
				"More columns of the finished view: name: expression of keys and finished aggregates, such as errors / requests."),
			at("rollups", rollupsKind(), func(w *Window) *[]Rollup { return &w.Rollups },
				"Views of wider windows or fewer keys over the same rows: name: {every: 1h}, {calendar: …} or {global: true}. Nothing more is shipped for them."),
			later[Window]("global", "totals of all time are a roll-up: rollups: {NAME: {global: true}} beside tumbling or calendar"),
		},
		check: checkWindow,
	}
}

// windowLength is whole milliseconds, at least so many.
func windowLength(least time.Duration) kind[time.Duration] {
	k := durationKind(least, 366*24*time.Hour)
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

// Hopping is a window that begins before the one before has ended.
type Hopping struct{ Size, Every time.Duration }

func hoppingTable() object[Hopping] {
	return object[Hopping]{
		what: "hopping",
		fields: []field[Hopping]{
			at("size", windowLength(time.Millisecond), func(h *Hopping) *time.Duration { return &h.Size }, "Length of a window.").must(),
			at("every", windowLength(time.Millisecond), func(h *Hopping) *time.Duration { return &h.Every }, "How far apart windows begin: at multiples of it since 1970 in UTC.").must(),
		},
	}
}

// maxOverlap is how many windows a row can be in.
const maxOverlap = 1024

// checkLength finds out how long windows are, and how far apart.
func checkLength(r *reader, v value, w *Window) {
	h := w.hopping
	switch {
	case w.Count != nil && (h != nil || w.Size != 0 || w.Calendar != nil || w.Session != nil):
		r.failf(v, "a window is either of so many rows or of another kind").Hint = "leave one of them out"
		return
	case w.Count != nil:
		checkCount(r, v, w)
		return
	case w.Session != nil && (h != nil || w.Size != 0 || w.Calendar != nil):
		r.failf(v, "a window is either a session or of a length of its own").Hint = "leave one of them out"
		return
	case w.Session != nil:
		checkSession(r, v, w)
		return
	case w.Calendar != nil && (h != nil || w.Size != 0):
		r.failf(v, "a window is either of the calendar or of a fixed length").Hint = "leave one of them out"
		return
	case w.Calendar != nil && w.Offset != 0:
		r.failf(v, "windows of the calendar begin at midnight, and have no offset").Hint = "leave offset out"
		return
	case w.Calendar != nil:
		return
	case h == nil && w.Size == 0:
		r.failf(v, "it has no length").Hint = "write tumbling: 10s, hopping: {size: 1m, every: 10s}, session: {gap: 5m}, count: {rows: 100}, or calendar: {every: day, timezone: Europe/Berlin}"
		return
	case h == nil:
		w.Every = w.Size
	case w.Size != 0:
		r.failf(v, "a window is either tumbling or hopping").Hint = "leave one of them out"
		return
	case h.Every > h.Size:
		r.failf(v, "hopping windows of %s every %s would leave rows out", FormatDuration(h.Size), FormatDuration(h.Every)).Hint = "every must be at most size"
		return
	case h.Every > 0 && (h.Size+h.Every-1)/h.Every > maxOverlap:
		r.failf(v, "a row would be in %d windows, and %d are the limit", (h.Size+h.Every-1)/h.Every, maxOverlap).Hint = "make size shorter, or every longer"
		return
	default:
		w.Size, w.Every = h.Size, h.Every
	}
	if w.Offset >= w.Every && w.Every > 0 {
		r.failf(v, "the offset %s is not below %s, which windows begin apart", FormatDuration(w.Offset), FormatDuration(w.Every))
	}
	if w.Every < w.Size {
		for _, a := range w.Aggregates {
			if a.Wasm != nil {
				r.addf(a.Pos, v.path+".aggregates", "window.aggregates.%s: aggregates of your own are not in hopping windows: a row on which a module fails would be in some of its windows", a.Name).
					Hint = "use tumbling: " + FormatDuration(w.Every) + ", and merge windows in a query"
			}
		}
	}
}

func checkWindow(r *reader, v value, w *Window) {
	before := len(r.errs)
	if checkLength(r, v, w); len(r.errs) == before {
		checkRollups(r, v, w)
	}
	seen := map[string]bool{}
	for _, k := range w.GroupBy {
		if seen[k.Name] {
			r.addf(k.Pos, v.path+".group_by", "window.group_by: the column %s is here twice", quote(k.Name))
		}
		seen[k.Name] = true
	}
	if w.MaxKeys > 0 && len(w.GroupBy) == 0 {
		r.failf(v, "max_keys needs group_by").Hint = "without a key a window has one row"
	}
	for _, a := range w.Aggregates {
		if a.Wasm != nil && w.MaxKeys > 0 {
			r.addf(a.Pos, v.path+".aggregates", "window.aggregates.%s: aggregates of your own are not in windows with max_keys yet", a.Name)
		}
		if err := CheckName(a.Name); err != nil {
			r.addf(a.Pos, v.path+".aggregates", "window.aggregates: %v", err)
		}
	}
	for _, c := range w.Compute {
		if err := CheckName(c.Name); err != nil {
			r.addf(c.Pos, v.path+".compute", "window.compute: %v", err)
		}
	}
}
