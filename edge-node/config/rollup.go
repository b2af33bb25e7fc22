package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-stream/weir/operators/calendar"
)

// Rollup is a view of wider windows, or of fewer keys, over the rows of the window: nothing more is shipped for it.
type Rollup struct {
	// Name is the name of the view.
	Name string
	Pos  Pos
	// Every is how long its windows are, and Offset how long after multiples of it since 1970 in UTC they begin. Both are 0 where
	// Calendar or Global says what they are.
	Every, Offset time.Duration
	// Calendar makes windows of days, weeks or months of a time zone.
	Calendar *Calendar
	// Global is one window of all time.
	Global bool
	// By are the columns of group_by that are kept apart. Default: all.
	By []Ident

	offset, by bool // whether they were written
}

// maxRollups bounds the views of a pipeline.
const maxRollups = 32

// String is what the windows are, for people: "windows of 1h".
func (o *Rollup) String() string {
	switch {
	case o.Global:
		return "one window of all time"
	case o.Calendar != nil:
		return "windows of " + o.Calendar.String()
	case o.Offset != 0:
		return "windows of " + FormatDuration(o.Every) + " from " + FormatDuration(o.Offset) + " on"
	}
	return "windows of " + FormatDuration(o.Every)
}

func rollupsKind() kind[[]Rollup] {
	return named("a mapping of view names to windows", rollupTable().kind(), func(name string, pos Pos, o Rollup) Rollup {
		o.Name, o.Pos = name, pos
		return o
	})
}

func rollupTable() object[Rollup] {
	o := object[Rollup]{
		what: "the roll-up",
		fields: []field[Rollup]{
			at("every", windowLength(time.Millisecond), func(o *Rollup) *time.Duration { return &o.Every },
				"Length of its windows, a multiple of the window's."),
			at("calendar", calendarTable().pointer(func() Calendar { return Calendar{} }), func(o *Rollup) **Calendar { return &o.Calendar },
				"Days, weeks or months of a time zone."),
			at("global", boolKind(), func(o *Rollup) *bool { return &o.Global }, "true: one window of all time."),
			at("offset", windowLength(0), func(o *Rollup) *time.Duration { return &o.Offset },
				"How long after multiples of every its windows begin. Default: that of the window."),
			at("by", groupByKind(), func(o *Rollup) *[]Ident { return &o.By }, "Columns of group_by that are kept apart. Default: all of them."),
		},
		check: func(r *reader, v value, o *Rollup) {
			n := 0
			for _, given := range []bool{o.Every != 0, o.Calendar != nil, o.Global} {
				if given {
					n++
				}
			}
			switch {
			case n != 1:
				_ = r.failf(v, "a roll-up has one of every, calendar and global").WithHint("write {every: 1h}, {calendar: {every: day, timezone: Europe/Berlin}} or {global: true}")
			case o.offset && o.Every == 0:
				_ = r.failf(v, "offset is about windows of a fixed length").WithHint("leave it out")
			}
		},
	}
	written := func(key string, flag func(*Rollup) *bool) {
		f := o.field(key)
		read := f.read
		f.read = func(r *reader, v value, to *Rollup) {
			*flag(to) = true
			read(r, v, to)
		}
	}
	written("offset", func(o *Rollup) *bool { return &o.offset })
	written("by", func(o *Rollup) *bool { return &o.by })
	return o
}

// checkRollups finds out whether each can be made of the windows, and fills in what it leaves out.
func checkRollups(r *reader, v value, w *Window) {
	if len(w.Rollups) > maxRollups {
		r.failf(v, "%d roll-ups, and %d are the most", len(w.Rollups), maxRollups)
		return
	}
	for i := range w.Rollups {
		o := &w.Rollups[i]
		path := join(v.path+".rollups", o.Name)
		if !tableNameRE.MatchString(o.Name) || strings.HasPrefix(o.Name, "weir_") {
			_ = r.addf(o.Pos, path, "%s: it is the name of a view: use letters, digits and _, beginning with a letter and not with weir_, at most 100", path)
		}
		if why, hint := o.complete(w); why != "" {
			_ = r.addf(o.Pos, path, "%s: %s", path, why).WithHint("%s", hint)
			continue
		}
		seen := map[string]bool{}
		for _, k := range o.By {
			switch {
			case seen[k.Name]:
				r.addf(k.Pos, path+".by", "%s.by: the column %s is here twice", path, quote(k.Name))
			case !slices.ContainsFunc(w.GroupBy, func(g Ident) bool { return g.Name == k.Name }):
				names := make([]string, len(w.GroupBy))
				for i, g := range w.GroupBy {
					names[i] = g.Name
				}
				_ = r.addf(k.Pos, path+".by", "%s.by: %s is no column of group_by", path, quote(k.Name)).WithHint("%s", noColumn(k.Name, names))
			}
			seen[k.Name] = true
		}
	}
}

// complete fills in what is left out, and tells why the roll-up cannot be made of the windows, with what to do.
func (o *Rollup) complete(w *Window) (why, hint string) {
	const second = "a second pipeline in the same process can have any window"
	if !o.by {
		o.By = slices.Clone(w.GroupBy)
	}
	if w.Session != nil {
		return "sessions are of no length, and do not make others", second
	}
	if w.Count != nil {
		return "windows of so many rows are of no length, and do not make others", second
	}
	if w.Every < w.Size {
		return "windows that overlap cannot be added up: a row is in several of them", second
	}
	if !o.offset && o.Every > 0 {
		o.Offset = w.Offset % o.Every
	}
	same := false
	switch {
	case o.Global:
	case w.Calendar != nil && o.Calendar == nil:
		return fmt.Sprintf("%ss of a time zone are not all of one length, and do not make windows of %s", w.Calendar.Every, FormatDuration(o.Every)),
			"use calendar or global"
	case w.Calendar != nil:
		have, want := w.Calendar, o.Calendar
		same = have.Every == want.Every
		switch {
		case have.Timezone.Name() != want.Timezone.Name():
			return fmt.Sprintf("%s do not make %s", have, want), "give both the same timezone"
		case !same && have.Every != EveryDay:
			return fmt.Sprintf("%s do not make %s: they begin on other days", have, want), "make the window one of days"
		}
	case o.Calendar != nil:
		if begin, ok := o.Calendar.cuts(w); ok {
			return fmt.Sprintf("%s are not made of windows of %s: one begins at %s, in the middle of a window", o.Calendar, w.Length(), begin),
				"make the window shorter, or change its offset"
		}
	case o.Every%w.Size != 0:
		return fmt.Sprintf("windows of %s do not make windows of %s, which is not a multiple of it", w.Length(), FormatDuration(o.Every)), second
	case o.Offset >= o.Every:
		return fmt.Sprintf("the offset %s is not below %s, which windows begin apart", FormatDuration(o.Offset), FormatDuration(o.Every)), "take off whole windows"
	case (o.Offset-w.Offset)%w.Size != 0:
		return fmt.Sprintf("with the offset %s its windows would begin in the middle of those of %s, whose offset is %s",
			FormatDuration(o.Offset), w.Length(), FormatDuration(w.Offset)), "leave the offset out"
	default:
		same = o.Every == w.Size
	}
	if same && len(o.By) == len(w.GroupBy) {
		return "its windows and keys are those of the table", "make its windows longer, or name fewer columns in by"
	}
	return "", ""
}

// The stretch of time whose calendar is looked at: before it, some zones had a time that is seconds off. A window that a unit of
// the calendar begins in then is a row of its own in the view.
var (
	cutsFrom  = time.Date(1972, 6, 1, 0, 0, 0, 0, time.UTC)
	cutsUntil = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
)

// cuts looks for a unit of the calendar that begins in the middle of a window.
func (c *Calendar) cuts(w *Window) (begin string, found bool) {
	size, offset := w.Size.Microseconds(), w.Offset.Microseconds()
	cal := calendar.Calendar{Unit: c.Every.Unit(), Zone: c.Timezone}
	for us := cutsFrom.UnixMicro(); us < cutsUntil.UnixMicro(); {
		start, end := cal.Bounds(us)
		if (end-offset)%size != 0 {
			return time.UnixMicro(end).UTC().Format(time.RFC3339), true
		}
		if us = end; end <= start {
			return "", false
		}
	}
	return "", false
}

// checkRollupSink finds what is between roll-ups and the table.
func (p *Pipeline) checkRollupSink(add func(Pos, string, string, ...any) *Error) {
	table, ttl := p.tableName(), p.Sink.ClickHouse.TTL
	for i := range p.Window.Rollups {
		o := &p.Window.Rollups[i]
		path := "window.rollups." + o.Name
		if o.Name == table || o.Name == table+"_partials" {
			_ = add(o.Pos, path, "%s: the name is taken by the pipeline's table", path).WithHint("give the roll-up another name")
		}
		long := o.Every
		if o.Calendar != nil {
			long = o.Calendar.Every.Unit().Longest()
		}
		switch {
		case ttl == 0:
		case o.Global:
			_ = add(o.Pos, path, "%s: a total of all time forgets what the table drops after %s", path, FormatDuration(ttl)).
				WithHint("leave sink.clickhouse.ttl out, or take every or calendar")
		case long >= ttl:
			_ = add(o.Pos, path, "%s: %s are not whole before the table drops rows after %s", path, o, FormatDuration(ttl)).
				WithHint("make sink.clickhouse.ttl longer, or the windows shorter")
		}
	}
}
