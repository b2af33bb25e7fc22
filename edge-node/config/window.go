package config

import (
	"fmt"
	"strings"
	"time"
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

// Aggregate is one answer: a function over a column, or over several where the function is the user's.
type Aggregate struct {
	Name string
	Pos  Pos // of the name
	Func AggFunc
	Expr Text  // as written: "avg(temp)"
	Arg  Ident // the column; empty for count()
	// Wasm is a function of the user's; the fields from Func on are empty then.
	Wasm *WasmAggregate
}

// AggFunc is an aggregate function.
type AggFunc string

// The aggregate functions. count() counts rows, count(x) the rows where x is not null.
const (
	AggCount AggFunc = "count"
	AggSum   AggFunc = "sum"
	AggMin   AggFunc = "min"
	AggMax   AggFunc = "max"
	AggAvg   AggFunc = "avg"
)

// AggFuncs lists the functions in the order the documentation gives them.
func AggFuncs() []AggFunc { return []AggFunc{AggCount, AggSum, AggMin, AggMax, AggAvg} }

// plannedFuncs are refused as not there yet rather than as unknown.
const plannedFuncs = " var stddev first last any argmin argmax quantile quantiles uniq topk histogram "

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
				"The answers: name: function(column), with count sum min max avg; or name: {wasm: …} for a function of yours.").must(),
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

func aggregateKind() kind[Aggregate] {
	s := typed("string")
	s["pattern"] = `^\s*(count\(\s*\)|(count|sum|min|max|avg)\(\s*[A-Za-z_][A-Za-z0-9_]*\s*\))\s*$`
	return kind[Aggregate]{s, func(r *reader, v value, to *Aggregate) bool {
		t, ok := r.text(v, "an aggregate such as avg(temp)")
		if !ok {
			return false
		}
		a, off, problem, hint := parseAggregate(t)
		if problem != "" {
			e := r.addf(t.PosAt(off), v.path, "%s: %s", v.path, problem)
			e.Hint = hint
			return false
		}
		*to = a
		return true
	}}
}

// parseAggregate reads "func(column)". A problem comes with the byte it is about, and a hint.
func parseAggregate(t Text) (a Aggregate, off int, problem, hint string) {
	var names []string
	for _, f := range AggFuncs() {
		names = append(names, string(f))
	}
	s := t.Value
	start := len(s) - len(strings.TrimLeft(s, " \t\n"))
	open := strings.IndexByte(s, '(')
	fn := strings.TrimSpace(s)
	if open >= 0 {
		fn = strings.TrimSpace(s[:open])
	}
	known := false
	for _, n := range names {
		known = known || n == fn
	}
	switch {
	case strings.Contains(plannedFuncs, " "+fn+" ") && fn != "":
		return a, start, fn + " is not supported yet", "supported: " + strings.Join(names, ", ")
	case open < 0 && known:
		return a, start, fmt.Sprintf("%s has no parentheses", quote(fn)), fmt.Sprintf("write %s(column)", fn)
	case open < 0:
		return a, start, quote(fn) + " is not an aggregate", "write it like avg(temp), with one of " + strings.Join(names, ", ")
	case !known:
		hint := "use one of " + strings.Join(names, ", ")
		if near := Nearest(fn, names); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return a, start, "unknown aggregate " + quote(fn), hint
	}
	end := strings.LastIndexByte(s, ')')
	switch {
	case end < open:
		return a, open, "the parenthesis is not closed", "inside { } a comma ends the value: quote it"
	case strings.TrimSpace(s[end+1:]) != "":
		rest := end + 1 + len(s[end+1:]) - len(strings.TrimLeft(s[end+1:], " \t\n"))
		return a, rest, "nothing may follow the aggregate", "compute in a map step, or in the query"
	}
	arg := strings.TrimSpace(s[open+1 : end])
	argOff := open + 1 + len(s[open+1:end]) - len(strings.TrimLeft(s[open+1:end], " \t\n"))
	a = Aggregate{Func: AggFunc(fn), Expr: t}
	switch {
	case arg == "" && fn != "count":
		return a, open, fn + " needs a column", fmt.Sprintf("write %s(column)", fn)
	case arg == "":
		return a, 0, "", ""
	case arg == "*":
		return a, argOff, "count(*) is written count()", ""
	case !columnNameRE.MatchString(arg) && !strings.HasPrefix(arg, "_"):
		return a, argOff, quote(arg) + " is not a column", "compute it in a map step before, and aggregate that"
	}
	a.Arg = Ident{arg, t.PosAt(argOff)}
	return a, 0, "", ""
}
