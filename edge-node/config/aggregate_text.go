package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weir-stream/weir/operators/aggregate"
)

// Aggregate is one answer: a function of columns or expressions, or one of the user's.
type Aggregate struct {
	Name string
	Pos  Pos // of the name
	Func string
	Expr Text   // as written: "sum(price * volume) filter (where side == 'buy')"
	Args []Part // what the function is of; numbers are parameters, see aggregate.Info
	// Filter is the condition of the rows that count; its Value is empty where all do.
	Filter Part
	// Wasm is a function of the user's; the fields from Func on are empty then.
	Wasm *WasmAggregate
}

// Part is a part of a text, without the space around it.
type Part struct {
	Value string
	Off   int // bytes of the text before it
}

// IsColumn tells whether a part is the name of a column, and no more.
func (p Part) IsColumn() bool {
	return columnNameRE.MatchString(p.Value) || strings.HasPrefix(p.Value, "_") && columnNameRE.MatchString("x"+p.Value)
}

// Canonical is the aggregate without what means nothing.
func (a *Aggregate) Canonical() string {
	args := make([]string, len(a.Args))
	for i, arg := range a.Args {
		args[i] = arg.Value
	}
	text := a.Func + "(" + strings.Join(args, ", ") + ")"
	if a.Filter.Value != "" {
		text += " filter (where " + a.Filter.Value + ")"
	}
	return text
}

func aggregateKind() kind[Aggregate] {
	s := typed("string")
	s["pattern"] = `^\s*(` + strings.Join(aggregate.Names(), "|") + `)\s*\([\s\S]*\)\s*$`
	return kind[Aggregate]{s, func(r *reader, v value, to *Aggregate) bool {
		t, ok := r.text(v, "an aggregate such as avg(temp)")
		if !ok {
			return false
		}
		a, bad := parseAggregate(t.Value)
		if bad != nil {
			e := r.addf(t.PosAt(bad.off), v.path, "%s: %s", v.path, bad.problem)
			e.Hint = bad.hint
			return false
		}
		a.Expr = t
		*to = a
		return true
	}}
}

// badAggregate is what is wrong with the text of an aggregate, at a byte of it.
type badAggregate struct {
	off           int
	problem, hint string
}

// parseAggregate reads "function(argument, …) filter (where condition)". What is inside the parentheses is for the planner,
// which knows the columns.
func parseAggregate(s string) (Aggregate, *badAggregate) {
	open := strings.IndexByte(s, '(')
	head := s
	if open >= 0 {
		head = s[:open]
	}
	fn := part(head, 0)
	f, known := aggregate.Find(fn.Value)
	switch {
	case open < 0 && known:
		return Aggregate{}, &badAggregate{fn.Off, quote(fn.Value) + " has no parentheses", "write " + f.Usage}
	case open < 0:
		return Aggregate{}, &badAggregate{fn.Off, quote(fn.Value) + " is not an aggregate", "write it like avg(temp), with one of " + strings.Join(aggregate.Names(), ", ")}
	case !known:
		hint := "use one of " + strings.Join(aggregate.Names(), ", ")
		if near := Nearest(fn.Value, aggregate.Names()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		return Aggregate{}, &badAggregate{fn.Off, "unknown aggregate " + quote(fn.Value), hint}
	}
	args, end, ok := split(s, open)
	if !ok {
		return Aggregate{}, &badAggregate{open, "the parenthesis is not closed", "inside { } a comma ends the value: quote it"}
	}
	a := Aggregate{Func: f.Name, Args: args}
	if bad := a.checkArgs(&f, open); bad != nil {
		return a, bad
	}
	rest := part(s[end:], end)
	if rest.Value == "" {
		return a, nil
	}
	m := filterRE.FindStringSubmatchIndex(rest.Value)
	if m == nil {
		return a, &badAggregate{rest.Off, "nothing but a filter may follow the aggregate", "write avg(temp) filter (where temp > 0), or compute in a map step or in the query"}
	}
	conditions, close, ok := split(s, rest.Off+m[2])
	switch {
	case !ok:
		return a, &badAggregate{rest.Off + m[2], "the parenthesis is not closed", "inside { } a comma ends the value: quote it"}
	case strings.TrimSpace(s[close:]) != "":
		return a, &badAggregate{part(s[close:], close).Off, "nothing may follow the filter", ""}
	case len(conditions) != 1:
		return a, &badAggregate{rest.Off, "a filter is one condition", "write filter (where temp > 0)"}
	}
	where := conditions[0]
	a.Filter = part(where.Value[len("where"):], where.Off+len("where"))
	if a.Filter.Value == "" {
		return a, &badAggregate{where.Off, "the filter has no condition", "write filter (where temp > 0)"}
	}
	return a, nil
}

// filterRE matches up to the parenthesis, which is the first group.
var filterRE = regexp.MustCompile(`^(?i:filter)\s*(\()\s*(?i:where)\b`)

// checkArgs finds what is wrong with the arguments whatever the columns are; the parenthesis is at open.
func (a *Aggregate) checkArgs(f *aggregate.Info, open int) *badAggregate {
	for _, arg := range a.Args {
		if arg.Value == "*" {
			return &badAggregate{arg.Off, fmt.Sprintf("%s(*) is written %s()", a.Func, a.Func), ""}
		}
		if arg.Value == "" {
			return &badAggregate{arg.Off, "an argument is missing", "write " + f.Usage}
		}
	}
	if len(a.Args) == 0 && !f.Optional {
		what := "a column"
		if f.Args > 1 || f.Params != 0 {
			what = "arguments"
		}
		return &badAggregate{open, fmt.Sprintf("%s needs %s", a.Func, what), "write " + f.Usage}
	}
	return nil
}

// part is a text without the space around it; it begins at byte off of what it is a part of.
func part(s string, off int) Part {
	trimmed := strings.TrimLeft(s, " \t\r\n")
	return Part{strings.TrimRight(trimmed, " \t\r\n"), off + len(s) - len(trimmed)}
}

// split takes the text in the parenthesis at open apart at its commas, leaving alone those inside of brackets and quotes.
// end is behind the closing parenthesis.
func split(s string, open int) (parts []Part, end int, ok bool) {
	var closers []byte
	begin := open + 1
	for i := open; i < len(s); i++ {
		switch c := s[i]; c {
		case '(', '[', '{':
			closers = append(closers, map[byte]byte{'(': ')', '[': ']', '{': '}'}[c])
		case ')', ']', '}':
			if c != closers[len(closers)-1] {
				return nil, 0, false
			}
			closers = closers[:len(closers)-1]
			if len(closers) == 0 {
				if last := part(s[begin:i], begin); last.Value != "" || len(parts) > 0 {
					parts = append(parts, last)
				}
				return slices.Clip(parts), i + 1, true
			}
		case ',':
			if len(closers) == 1 {
				parts = append(parts, part(s[begin:i], begin))
				begin = i + 1
			}
		case '\'', '"', '`':
			for i++; i < len(s) && s[i] != c; i++ {
				if s[i] == '\\' && c != '`' {
					i++
				}
			}
		}
	}
	return nil, 0, false
}
