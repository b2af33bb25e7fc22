package expr

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// Function describes a function of the language.
type Function struct {
	Name      string
	Signature string // round(x, digits?)
	Doc       string // one line
}

// Functions lists every function, in the order the documentation gives them.
func Functions() []Function {
	list := functions()
	out := make([]Function, len(list))
	for i, f := range list {
		out[i] = f.Function
	}
	return out
}

// function is a Function with how many arguments it takes and how a call of it is checked.
type function struct {
	Function
	min, max int // max -1 is any number
	check    func(c *checker, k call) node
}

// call is a call whose arguments are checked and whose number of arguments is right.
type call struct {
	at    ast.Node
	name  string
	args  []node
	where []ast.Node
}

func functionNamed(name string) *function {
	for _, f := range functions() {
		if f.Name == name {
			return &f
		}
	}
	return nil
}

func functions() []function {
	fn := func(signature, doc string, min, max int, check func(c *checker, k call) node) function {
		name, _, _ := strings.Cut(signature, "(")
		return function{Function{Name: name, Signature: signature, Doc: doc}, min, max, check}
	}
	return []function{
		fn("abs(x)", "the absolute value", 1, 1, func(c *checker, k call) node {
			if !isDecimal(k.args[0]) && !c.wantNumber(k, 0) {
				return nil
			}
			return c.negate(k.at, k.args[0], true)
		}),
		fn("ceil(x)", "rounded up to a whole number", 1, 1, rounding(math.Ceil)),
		fn("floor(x)", "rounded down to a whole number", 1, 1, rounding(math.Floor)),
		fn("round(x, digits?)", "rounded to digits decimals (0 to 15), half away from zero", 1, 2, checkRound),
		fn("sqrt(x)", "the square root; NaN below zero", 1, 1, ofFloat(math.Sqrt)),
		fn("exp(x)", "e to the power of x", 1, 1, ofFloat(math.Exp)),
		fn("log(x)", "the natural logarithm; -Inf at zero, NaN below", 1, 1, ofFloat(math.Log)),
		fn("log10(x)", "the decimal logarithm", 1, 1, ofFloat(math.Log10)),
		fn("pow(x, y)", "x to the power of y, as x ** y", 2, 2, checkPow),
		fn("min(a, b, …)", "the smallest; null if any is null; of one list, its smallest item", 1, -1, checkExtreme),
		fn("max(a, b, …)", "the largest; null if any is null; of one list, its largest item", 1, -1, checkExtreme),
		fn("sum(xs)", "the sum of a list, 0 of an empty one; fails the row on integer overflow", 1, 1, checkFold),
		fn("avg(xs)", "the mean of a list; null of an empty one", 1, 1, checkFold),
		fn("isFinite(x)", "neither infinite nor NaN", 1, 1, predicate(func(v float64) bool { return v-v == 0 })),
		fn("isNaN(x)", "not a number, such as 0 / 0", 1, 1, predicate(func(v float64) bool { return v != v })),

		fn("len(s)", "characters of a string, bytes of a binary value, items of a list", 1, 1, checkLen),
		fn("lower(s)", "in lower case", 1, 1, ofText(appendLower)),
		fn("upper(s)", "in upper case", 1, 1, ofText(appendUpper)),
		fn("trim(s)", "without white space at both ends", 1, 1, ofText(appendTrimmed)),
		fn("replace(s, old, new)", "every old replaced by new; both literals", 3, 3, checkReplace),
		fn("substr(s, from, count?)", "count characters from position from; the first is 0, negative counts from the end", 2, 3, checkSubstr),
		fn("splitPart(s, separator, n)", "the n-th piece, the first is 0; null where there are fewer", 3, 3, checkSplitPart),

		fn("string(x)", "any value as text", 1, 1, castTo(textType)),
		fn("int(x)", "as int64; fractions are cut off; text that is no integer fails the row", 1, 1, castTo(intType)),
		fn("float(x)", "as float64; text that is no number fails the row", 1, 1, castTo(floatType)),
		fn("decimal(x, digits, behind)", "as decimal(digits, behind); exact, but that floats are rounded; what has more digits fails the row", 3, 3, checkDecimal),
		fn("bool(x)", "from the texts true, false, 1, 0 or the integers 1 and 0", 1, 1, castTo(boolType)),

		fn("coalesce(a, b, …)", "the first that is not null, as a ?? b", 2, -1, func(c *checker, k call) node {
			return c.coalesce(k.at, k.args, k.where)
		}),
		fn("isNull(x)", "is it null, as x == nil", 1, 1, func(c *checker, k call) node {
			if isNullLiteral(k.args[0]) {
				return newBool(true)
			}
			return c.fold(k.at, &isNullNode{shape: shape{t: boolType}, x: k.args[0]}, k.args[0])
		}),

		fn("timestamp(s)", "from RFC 3339 text, milliseconds; a literal may have up to nanoseconds", 1, 1, checkTimestamp),
		fn("date(x)", "the day of a timestamp, or from the text YYYY-MM-DD", 1, 1, checkDate),
		fn("duration(s)", `a span of time: "500ms", "5s", "1h30m", "1d"; literals only`, 1, 1, checkDuration),
		fn("trunc(t, d)", "a timestamp rounded down to a multiple of a duration", 2, 2, checkTrunc),
		fn("year(t)", "the year, UTC as all below", 1, 1, checkField),
		fn("month(t)", "the month, 1 to 12", 1, 1, checkField),
		fn("day(t)", "the day of the month, 1 to 31", 1, 1, checkField),
		fn("dayOfWeek(t)", "the day of the week, Monday 1 to Sunday 7", 1, 1, checkField),
		fn("hour(t)", "the hour, 0 to 23", 1, 1, checkField),
		fn("minute(t)", "the minute, 0 to 59", 1, 1, checkField),
		fn("second(t)", "the second, 0 to 59", 1, 1, checkField),
		fn("toUnix(t)", "whole seconds since 1970", 1, 1, toUnix(batch.Second)),
		fn("toUnixMilli(t)", "milliseconds since 1970", 1, 1, toUnix(batch.Millisecond)),
		fn("toUnixMicro(t)", "microseconds since 1970", 1, 1, toUnix(batch.Microsecond)),
		fn("toUnixNano(t)", "nanoseconds since 1970", 1, 1, toUnix(batch.Nanosecond)),
		fn("fromUnix(n)", "a timestamp[s] from seconds since 1970", 1, 1, fromUnix(batch.Second)),
		fn("fromUnixMilli(n)", "a timestamp[ms] from milliseconds since 1970", 1, 1, fromUnix(batch.Millisecond)),
	}
}

// otherNames is what people call functions elsewhere.
var otherNames = map[string]string{
	"tostring": "use string(x)", "str": "use string(x)", "text": "use string(x)", "tofloat": "use float(x)", "toint": "use int(x)",
	"length": "use len(s)", "char_length": "use len(s)", "substring": "use substr(s, from, count)", "split": "use splitPart(s, separator, n)",
	"ifnull": "use coalesce(a, b) or a ?? b", "nvl": "use coalesce(a, b) or a ?? b", "concat": "use a + b", "power": "use pow(x, y) or x ** y",
	"ln": "use log(x)", "least": "use min(a, b)", "greatest": "use max(a, b)", "if": "use cond ? a : b", "iff": "use cond ? a : b",
	"todate": "use date(x)", "strptime": "use timestamp(s)", "date_trunc": `use trunc(ts, duration("1h"))`, "like": "use contains or matches",
	"now":   "it would differ when records are read again; compare with a column",
	"count": "it is an aggregate: use it under window.aggregates", "sum": "it is an aggregate: use it under window.aggregates",
	"avg": "it is an aggregate: use it under window.aggregates", "mean": "it is an aggregate, avg(x): use it under window.aggregates",
	"median": "it is an aggregate, quantile(x, 0.5): use it under window.aggregates", "quantile": "it is an aggregate: use it under window.aggregates",
	"uniq": "it is an aggregate: use it under window.aggregates", "first": "it is an aggregate: use it under window.aggregates",
	"last": "it is an aggregate: use it under window.aggregates",
}

// listFunctions are those of the parser that take a list.
var listFunctions = map[string]struct{}{
	"all": {}, "none": {}, "any": {}, "one": {}, "filter": {}, "map": {}, "find": {}, "findIndex": {}, "findLast": {},
	"findLastIndex": {}, "groupBy": {}, "sortBy": {}, "reduce": {}, "sort": {}, "reverse": {}, "keys": {}, "values": {}, "join": {},
}

func (c *checker) call(at ast.Node, name string, where []ast.Node) node {
	f := functionNamed(name)
	if f == nil && c.scope.has(name) {
		return c.scalar(at, name, where)
	}
	if f == nil {
		hint := otherNames[strings.ToLower(name)]
		if _, ok := listFunctions[name]; ok {
			hint = "of a list there are len, sum, avg, min, max, x in xs and xs[i]"
		}
		if hint == "" {
			list := functions()
			names := make([]string, len(list))
			for i := range list {
				names[i] = list[i].Name
			}
			if c.scope != nil {
				names = append(slices.Clone(c.scope.scalars.Names), names...)
			}
			hint = Suggest(name, names)
		}
		return c.fail(at, hint, "there is no function %s", clip(name, 64))
	}
	if len(where) < f.min || f.max >= 0 && len(where) > f.max {
		return c.fail(at, f.Signature, "%s has the wrong number of arguments, %d", name, len(where))
	}
	k := call{at: at, name: name, where: where, args: make([]node, len(where))}
	for i, a := range where {
		if takesList(name) {
			k.args[i] = c.checkAny(a)
		} else {
			k.args[i] = c.check(a)
		}
		if c.err != nil {
			return nil
		}
		if isNullLiteral(k.args[i]) && name != "coalesce" && name != "isNull" && !isCast(name) {
			return c.fail(a, "", "%s of nil is always null", name)
		}
		if k.args[i].info().t.Kind == duration && name != "trunc" {
			return c.fail(a, `add it to a timestamp: ts + duration("5s")`, "%s does not take a duration", name)
		}
	}
	return f.check(c, k)
}

func isCast(name string) bool {
	return name == "string" || name == "int" || name == "float" || name == "bool" || name == "decimal" || name == "date" || name == "timestamp"
}

func (c *checker) wantNumber(k call, i int) bool {
	if !k.args[i].info().t.Numeric() {
		c.fail(k.where[i], "", "%s needs a number, not %s", k.name, c.typeName(k.args[i]))
	}
	return c.err == nil
}

func (c *checker) wantInteger(k call, i int) bool {
	if !k.args[i].info().t.Integer() {
		c.fail(k.where[i], "", "%s needs an integer here, not %s", k.name, c.typeName(k.args[i]))
		return false
	}
	k.args[i] = c.convert(k.where[i], k.args[i], intType)
	return c.err == nil
}

func (c *checker) wantText(k call, i int) bool {
	if k.args[i].info().t.Kind != batch.String {
		c.fail(k.where[i], "", "%s needs a string, not %s", k.name, c.typeName(k.args[i]))
	}
	return c.err == nil
}

// literalText is a string constant, or nil with an error.
func (c *checker) literalText(k call, i int) []byte {
	x := asConst(k.args[i])
	if x == nil || x.t.Kind != batch.String {
		c.fail(k.where[i], "", "%s needs a string literal here", k.name)
		return nil
	}
	return x.text()
}

func (k call) null() bool {
	for _, a := range k.args {
		if a.info().null {
			return true
		}
	}
	return false
}

func absFloat(v float64) float64 { return math.Abs(v) }

func ofFloat(f func(float64) float64) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		if !c.wantNumber(k, 0) {
			return nil
		}
		x := c.convert(k.where[0], k.args[0], floatType)
		return c.fold(k.at, &mapFloat{shape: shape{t: floatType, null: k.null()}, f: f, x: x, name: k.name, scale: k.scale()}, x)
	}
}

// rounding leaves integers alone.
func rounding(f func(float64) float64) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		switch t := k.args[0].info().t; {
		case t.Integer():
			return relabel(k.args[0], wide(t))
		case t.Kind == batch.Decimal:
			digits := 0
			if len(k.args) == 2 {
				digits = int(asConst(k.args[1]).int())
			}
			return c.roundDecimal(k, roundings[k.name], digits)
		}
		return ofFloat(f)(c, k)
	}
}

func checkRound(c *checker, k call) node {
	if len(k.args) == 1 {
		return rounding(math.Round)(c, k)
	}
	digits := asConst(k.args[1])
	if digits == nil || digits.t.Kind != batch.Int64 || digits.int() < 0 || digits.int() > 15 {
		return c.fail(k.where[1], "", "the digits of round must be a literal from 0 to 15")
	}
	scale := k.scale()
	return rounding(func(v float64) float64 {
		if s := v * scale; !math.IsInf(s, 0) {
			return math.Round(s) / scale
		}
		return v
	})(c, k)
}

// scale is 10 to the power of the digits that a call of round has, or 1.
func (k call) scale() float64 {
	if len(k.args) < 2 {
		return 1
	}
	return math.Pow10(int(asConst(k.args[1]).int()))
}

func checkPow(c *checker, k call) node {
	if !c.wantNumber(k, 0) || !c.wantNumber(k, 1) {
		return nil
	}
	l, r := c.convert(k.where[0], k.args[0], floatType), c.convert(k.where[1], k.args[1], floatType)
	return c.fold(k.at, &floatArith{shape: shape{t: floatType, null: k.null()}, op: '^', l: l, r: r}, l, r)
}

func checkExtreme(c *checker, k call) node {
	if len(k.args) == 1 {
		return checkFold(c, k)
	}
	meet := k.args[0]
	for i, a := range k.args {
		if t := a.info().t; !t.Numeric() && t.Kind != batch.Timestamp && t.Kind != batch.Date32 && t.Kind != batch.Decimal {
			return c.fail(k.where[i], "", "%s needs numbers or times, not %s", k.name, c.typeName(a))
		}
		t, ok := common(meet, a)
		if !ok {
			return c.fail(k.where[i], "all need one type", "%s does not go with %s", c.typeName(a), c.typeName(meet))
		}
		if i > 0 {
			meet = newNull(t)
		}
	}
	t := meet.info().t
	out := c.convert(k.where[0], k.args[0], t)
	for i, a := range k.args[1:] {
		r := c.convert(k.where[i+1], a, t)
		if c.err != nil {
			return nil
		}
		null := out.info().null || r.info().null
		out = c.fold(k.at, &extreme{shape: shape{t: t, null: null}, max: k.name == "max", l: out, r: r}, out, r)
	}
	return out
}

func predicate(f func(float64) bool) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		if !c.wantNumber(k, 0) {
			return nil
		}
		x := c.convert(k.where[0], k.args[0], floatType)
		return c.fold(k.at, &testFloat{shape: shape{t: boolType, null: k.null()}, f: f, x: x, name: k.name}, x)
	}
}

func checkLen(c *checker, k call) node {
	if l, ok := listArg(k.args[0]); ok {
		return &listLen{shape: shape{t: intType, null: k.null()}, list: l}
	}
	t := k.args[0].info().t
	if !t.Variable() {
		return c.fail(k.where[0], "", "len needs a string or a list, not %s", c.typeName(k.args[0]))
	}
	return c.fold(k.at, &textLen{shape: shape{t: intType, null: k.null()}, x: k.args[0], bytes: t.Kind == batch.Binary}, k.args[0])
}

func ofText(f func(dst, s []byte) []byte) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		if !c.wantText(k, 0) {
			return nil
		}
		s := shape{t: textType, null: k.null()}
		return c.fold(k.at, &mapText{shape: s, x: k.args[0], f: f, text: snippet(k.at) + ": " + tooLongText}, k.args[0])
	}
}

func checkReplace(c *checker, k call) node {
	old, with := c.literalText(k, 1), c.literalText(k, 2)
	if c.err == nil && len(old) == 0 {
		return c.fail(k.where[1], "", "replace needs something to look for")
	}
	return ofText(func(dst, s []byte) []byte { return appendReplaced(dst, s, old, with) })(c, k)
}

func checkSubstr(c *checker, k call) node {
	if len(k.args) == 2 {
		k.args, k.where = append(k.args, newInt(math.MaxInt64)), append(k.where[:2:2], k.at)
	}
	if !c.wantText(k, 0) || !c.wantInteger(k, 1) || !c.wantInteger(k, 2) {
		return nil
	}
	x := &substr{shape: shape{t: textType, null: k.null()}, x: k.args[0], from: k.args[1], count: k.args[2]}
	return c.fold(k.at, x, k.args...)
}

func checkSplitPart(c *checker, k call) node {
	if !c.wantText(k, 0) || !c.wantInteger(k, 2) {
		return nil
	}
	sep := c.literalText(k, 1)
	if c.err == nil && len(sep) == 0 {
		return c.fail(k.where[1], "", "splitPart needs a separator")
	}
	if c.err != nil {
		return nil
	}
	return c.fold(k.at, &part{shape: shape{t: textType, null: true}, x: k.args[0], n: k.args[2], sep: sep}, k.args[0], k.args[2])
}

func castTo(to batch.Type) func(c *checker, k call) node {
	return func(c *checker, k call) node { return c.cast(k, to) }
}

func (c *checker) cast(k call, to batch.Type) node {
	x := k.args[0]
	if isNullLiteral(x) {
		return newNull(to)
	}
	from := x.info().t
	switch {
	case wide(from) == to && from.Kind != batch.Bool:
		return relabel(x, to)
	case from == to:
		return x
	case !castable(from, to):
		return c.fail(k.where[0], castHint(from, to), "%s does not take %s", k.name, c.typeName(x))
	}
	return c.fold(k.at, newCast(x, to, false, snippet(k.at)), x)
}

func checkTimestamp(c *checker, k call) node {
	to := batch.TimestampOf(batch.Millisecond)
	if x := asConst(k.args[0]); x != nil && x.t.Kind == batch.String {
		if _, _, digits, ok := parseTime(x.text()); ok && digits > 3 {
			to.Unit = batch.Microsecond
			if digits > 6 {
				to.Unit = batch.Nanosecond
			}
		}
	}
	switch t := k.args[0].info().t; {
	case t.Kind == batch.Timestamp:
		return k.args[0]
	case t.Integer():
		return c.fail(k.at, "use fromUnix(n) or fromUnixMilli(n)", "timestamp does not take %s", t)
	}
	return c.cast(k, to)
}

func checkDate(c *checker, k call) node {
	if t := k.args[0].info().t; t.Numeric() {
		return c.fail(k.at, "use date(fromUnix(n))", "date does not take %s", t)
	}
	return c.cast(k, batch.Type{Kind: batch.Date32})
}

func checkDuration(c *checker, k call) node {
	s := c.literalText(k, 0)
	if c.err != nil {
		return nil
	}
	d, err := parseDuration(string(s))
	if err != nil {
		return c.fail(k.where[0], `write it like "500ms", "5s", "1h30m" or "1d"`, "%v", err)
	}
	x := newInt(int64(d))
	x.t = batch.Type{Kind: duration}
	return x
}

// parseDuration is Go's durations, and whole days.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err == nil && n > -100_000 && n < 100_000 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s is no duration", clip(strconv.Quote(s), 40))
	}
	return d, nil
}

func checkTrunc(c *checker, k call) node {
	t := k.args[0].info().t
	if t.Kind != batch.Timestamp {
		hint := ""
		if t.Numeric() {
			hint = "use floor(x) or int(x) for numbers"
		}
		return c.fail(k.where[0], hint, "trunc needs a timestamp, not %s", c.typeName(k.args[0]))
	}
	step := c.inUnit(k.where[1], k.args[1], t)
	if c.err != nil {
		return nil
	}
	if step <= 0 {
		return c.fail(k.where[1], "", "trunc needs a duration above zero")
	}
	x := &truncTime{shape: k.args[0].info(), x: k.args[0], step: step, text: "timestamp overflow in " + snippet(k.at)}
	return c.fold(k.at, x, k.args[0])
}

func checkField(c *checker, k call) node {
	t := k.args[0].info().t
	clock := k.name == "hour" || k.name == "minute" || k.name == "second"
	if t.Kind != batch.Timestamp && (t.Kind != batch.Date32 || clock) {
		return c.fail(k.where[0], "", "%s needs a timestamp, not %s", k.name, c.typeName(k.args[0]))
	}
	return c.fold(k.at, &timeField{shape: shape{t: intType, null: k.null()}, x: k.args[0], f: timeFields[k.name]}, k.args[0])
}

func toUnix(u batch.Unit) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		t := k.args[0].info().t
		if t.Kind != batch.Timestamp {
			return c.fail(k.where[0], "", "%s needs a timestamp, not %s", k.name, c.typeName(k.args[0]))
		}
		by, over := timeScale(t, batch.TimestampOf(u))
		x := &rescale{shape: shape{t: intType, null: k.null()}, x: k.args[0], mul: by, div: over, text: snippet(k.at) + " does not fit int64"}
		return c.fold(k.at, x, k.args[0])
	}
}

func fromUnix(u batch.Unit) func(c *checker, k call) node {
	return func(c *checker, k call) node {
		if !c.wantInteger(k, 0) {
			return nil
		}
		return c.fold(k.at, &labelNode{shape: shape{t: batch.TimestampOf(u), null: k.null()}, x: k.args[0]}, k.args[0])
	}
}
