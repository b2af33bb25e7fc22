package expr

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// castNode changes the type of values. A value that has no counterpart fails the row, or is null where try is set.
type castNode struct {
	shape
	x    node
	try  bool
	step bool   // of a cast step: failures carry the precise reason
	what string // where it is, for messages: `column x` or `int(x)`
}

// castable tells whether a conversion exists. Those that exist can still fail on a value.
func castable(from, to batch.Type) bool {
	switch {
	case from == to:
		return true
	case from.Kind == batch.List, to.Kind == batch.List:
		return false
	case to.Kind == batch.String:
		return true
	case from.Kind == batch.String:
		return to.Kind != duration
	case from.Kind == batch.Bool:
		return to.Numeric()
	case from.Kind == batch.Decimal:
		return to.Numeric() || to.Kind == batch.Decimal
	case to.Kind == batch.Decimal:
		return from.Numeric()
	case from.Integer():
		return to.Numeric() || to.Kind == batch.Bool || to.Kind == batch.Timestamp || to.Kind == batch.Date32
	case from.Float():
		return to.Numeric()
	case from.Kind == batch.Timestamp, from.Kind == batch.Date32:
		return to.Integer() || to.Kind == batch.Timestamp || to.Kind == batch.Date32
	default:
		return false
	}
}

func newCast(x node, to batch.Type, try bool, what string) *castNode {
	return &castNode{shape: shape{t: to, null: x.info().null || try}, x: x, try: try, what: what}
}

func (x *castNode) eval(e *Evaluator, d int) vec {
	from := x.x.info().t
	v := e.dense(x.x.eval(e, d+1), d+1)
	// Failing rows become null below, so the validity must be ours.
	valid := &e.reg(d).valid
	if v.valid != nil {
		*valid = *v.valid
	} else {
		valid.ones(e.n)
	}
	out := vec{valid: valid}
	switch {
	case x.t.Kind == batch.Decimal, from.Kind == batch.Decimal && x.t.Kind != batch.String:
		out = x.decimals(e, d, from, v, valid)
	case x.t.Kind == batch.String:
		out = x.toText(e, d, from, v, valid)
	case from.Kind == batch.String:
		out = x.fromText(e, d, v, valid)
	case from.Kind == batch.Bool:
		out.num = e.nums(d)
		x.fromBool(out.num, v)
	case x.t.Kind == batch.Bool:
		out.bits = &e.reg(d).bits
		*out.bits = mask{}
		for i, n := range v.num {
			switch n {
			case 0:
			case 1:
				out.bits.set(i)
			default:
				x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
			}
		}
	case from.Float():
		out.num = e.nums(d)
		x.fromFloat(e, out.num, v, valid)
	default:
		out.num = e.nums(d)
		x.fromInt(e, out.num, from, v, valid)
	}
	if !x.null {
		out.valid = nil
	}
	return out
}

// bad fails row i, or makes it null.
func (x *castNode) bad(e *Evaluator, i int, valid *mask, reason batch.Reason, from batch.Type, v vec) {
	if x.try {
		if valid.get(i) && e.active.get(i) {
			e.nulled++
		}
		valid.clear(i)
		return
	}
	if !e.fail(i, valid) {
		return
	}
	var value []byte
	if from.Variable() {
		value = strconv.AppendQuote(nil, clip(string(v.bytes(i)[:min(len(v.bytes(i)), 80)]), 64))
	} else if v.dec != nil {
		value = batch.AppendDecimal(nil, v.dec[i], int(from.Scale))
	} else {
		value = appendNum(nil, from, v.num[i])
	}
	verb := "does not fit"
	if reason == batch.ReasonWrongType {
		verb = "is no"
	}
	if !x.step {
		reason = batch.ReasonExpression
	}
	e.fails = append(e.fails, Failure{
		Row: int32(e.start + i), Reason: reason, Text: fmt.Sprintf("%s: %s %s %s", x.what, value, verb, x.t),
	})
}

// bounds is the range of a narrow integer type as int64; for uint64 the upper bound is that of int64.
func bounds(t batch.Type) (lo, hi int64) {
	switch t.Kind {
	case batch.Int8:
		return math.MinInt8, math.MaxInt8
	case batch.Int16:
		return math.MinInt16, math.MaxInt16
	case batch.Int32, batch.Date32:
		return math.MinInt32, math.MaxInt32
	case batch.Uint8:
		return 0, math.MaxUint8
	case batch.Uint16:
		return 0, math.MaxUint16
	case batch.Uint32:
		return 0, math.MaxUint32
	case batch.Uint64:
		return 0, math.MaxInt64
	default:
		return math.MinInt64, math.MaxInt64
	}
}

func (x *castNode) fromBool(out []uint64, v vec) {
	for i := range out {
		out[i] = v.bits[i>>6] >> (i & 63) & 1
	}
	if x.t.Float() {
		f := view[float64](out)
		for i, n := range out {
			f[i] = float64(n)
		}
	}
}

func (x *castNode) fromInt(e *Evaluator, out []uint64, from batch.Type, v vec, valid *mask) {
	if x.t.Float() {
		f := view[float64](out)
		for i, n := range v.num {
			if from.Kind == batch.Uint64 {
				f[i] = float64(n)
			} else {
				f[i] = float64(int64(n))
			}
		}
		return
	}
	mulBy, divBy := timeScale(from, x.t)
	lo, hi := bounds(x.t)
	for i, u := range v.num {
		n, fits := int64(u), true
		switch {
		case from.Kind == batch.Uint64 && x.t.Kind == batch.Uint64:
			out[i] = u
			continue
		case from.Kind == batch.Uint64:
			fits = n >= 0
		case divBy > 1:
			n = batch.FloorDiv(n, divBy)
		case mulBy > 1:
			n, fits = mul(n, mulBy)
		}
		if !fits || n < lo || n > hi {
			x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
		}
		out[i] = uint64(n)
	}
}

// timeScale is by what a time must be multiplied or divided to become another. A number is taken in the time's own unit.
func timeScale(from, to batch.Type) (mulBy, divBy int64) {
	a, b := perDay(from), perDay(to)
	switch {
	case a == 0 || b == 0:
		return 1, 1
	case b > a:
		return b / a, 1
	default:
		return 1, a / b
	}
}

func perDay(t batch.Type) int64 {
	switch t.Kind {
	case batch.Date32:
		return 1
	case batch.Timestamp:
		return daySeconds * t.Unit.PerSecond()
	default:
		return 0
	}
}

func (x *castNode) fromFloat(e *Evaluator, out []uint64, v vec, valid *mask) {
	in := view[float64](v.num)
	from := batch.Type{Kind: batch.Float64}
	switch x.t.Kind {
	case batch.Float64:
		copy(out, v.num)
	case batch.Float32:
		f := view[float64](out)
		for i, n := range in {
			if r := float32(n); math.IsInf(float64(r), 0) && !math.IsInf(n, 0) {
				x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
			}
			f[i] = n
		}
	case batch.Uint64:
		for i, n := range in {
			n = math.Trunc(n)
			if !(n >= 0 && n < 1<<64) {
				x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
				out[i] = 0
				continue
			}
			out[i] = uint64(n)
		}
	default:
		lo, hi := bounds(x.t)
		for i, n := range in {
			n = math.Trunc(n)
			// 2^63 itself is a float64, the highest int64 is not.
			if !(n >= -1<<63 && n < 1<<63) || int64(n) < lo || int64(n) > hi {
				x.bad(e, i, valid, batch.ReasonOutOfRange, from, v)
				out[i] = 0
				continue
			}
			out[i] = uint64(int64(n))
		}
	}
}

func (x *castNode) toText(e *Evaluator, d int, from batch.Type, v vec, valid *mask) vec {
	off, data := e.text(d)
	for i := range e.n {
		if valid.get(i) {
			switch {
			case from.Kind == batch.Bool:
				data = strconv.AppendBool(data, v.bits.get(i))
			case from.Variable():
				if from.Kind == batch.Binary && !utf8.Valid(v.bytes(i)) {
					x.bad(e, i, valid, batch.ReasonWrongType, from, v)
				} else {
					data = append(data, v.bytes(i)...)
				}
			case from.Kind == batch.Decimal:
				data = batch.AppendDecimal(data, v.dec[i], int(from.Scale))
			default:
				data = appendNum(data, from, v.num[i])
			}
		}
		off[i+1] = int32(len(data))
	}
	return e.keep(d, off, data, valid)
}

// appendNum writes a number or time as string() does.
func appendNum(dst []byte, t batch.Type, n uint64) []byte {
	switch {
	case t.Kind == batch.Uint64:
		return strconv.AppendUint(dst, n, 10)
	case t.Kind == batch.Float32:
		return appendFloat(dst, math.Float64frombits(n), 32)
	case t.Kind == batch.Float64:
		return appendFloat(dst, math.Float64frombits(n), 64)
	case t.Kind == batch.Timestamp:
		return appendTimestamp(dst, int64(n), t.Unit)
	case t.Kind == batch.Date32:
		return appendDay(dst, int64(n))
	default:
		return strconv.AppendInt(dst, int64(n), 10)
	}
}

// appendFloat writes the shortest text that reads back as the same number, as JSON does: 20, 0.1, 1e+21.
func appendFloat(dst []byte, v float64, size int) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, size)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, size)
}

func (x *castNode) fromText(e *Evaluator, d int, v vec, valid *mask) vec {
	from := batch.Type{Kind: batch.String}
	out := vec{valid: valid}
	switch x.t.Kind {
	case batch.Binary:
		off, data := e.text(d)
		for i := range e.n {
			data = append(data, v.bytes(i)...)
			off[i+1] = int32(len(data))
		}
		return e.keep(d, off, data, valid)
	case batch.Bool:
		out.bits = &e.reg(d).bits
		*out.bits = mask{}
	default:
		out.num = e.nums(d)
	}
	for i := range e.n {
		if !valid.get(i) || !e.active.get(i) {
			if out.num != nil {
				out.num[i] = 0
			}
			continue
		}
		n, reason := parseAs(v.bytes(i), x.t)
		if reason != "" {
			x.bad(e, i, valid, reason, from, v)
		}
		if out.bits == nil {
			out.num[i] = n
		} else if n == 1 {
			out.bits.set(i)
		}
	}
	return out
}

// parseAs reads a text as a number, bool or time. It gives the value by bit pattern, or why there is none.
func parseAs(s []byte, t batch.Type) (uint64, batch.Reason) {
	switch t.Kind {
	case batch.Bool:
		switch string(s) {
		case "true", "1":
			return 1, ""
		case "false", "0":
			return 0, ""
		}
		return 0, batch.ReasonWrongType
	case batch.Timestamp:
		sec, nsec, _, ok := parseTime(s)
		if !ok {
			return 0, batch.ReasonWrongType
		}
		n, ok := mul(sec, t.Unit.PerSecond())
		add := nsec / (nanosPerSec / t.Unit.PerSecond())
		if !ok || n > math.MaxInt64-add {
			return 0, batch.ReasonOutOfRange
		}
		return uint64(n + add), ""
	case batch.Date32:
		y, m, d, rest, ok := parseDay(s)
		if !ok || len(rest) > 0 {
			return 0, batch.ReasonWrongType
		}
		return uint64(daysOf(y, m, d)), ""
	case batch.Float32, batch.Float64:
		return parseFloat(s, t)
	default:
		return parseInt(s, t)
	}
}

// parseInt reads [+-]digits. It does not use strconv, whose error is allocated for every bad row.
func parseInt(s []byte, t batch.Type) (uint64, batch.Reason) {
	digits, neg := s, false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		digits, neg = s[1:], s[0] == '-'
	}
	if len(digits) == 0 {
		return 0, batch.ReasonWrongType
	}
	var u uint64
	over := false
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, batch.ReasonWrongType
		}
		k := uint64(c - '0')
		if u > (math.MaxUint64-k)/10 {
			over = true
		}
		u = u*10 + k
	}
	if over {
		return 0, batch.ReasonOutOfRange
	}
	if t.Kind == batch.Uint64 {
		if neg && u != 0 {
			return 0, batch.ReasonOutOfRange
		}
		return u, ""
	}
	lo, hi := bounds(t)
	if neg {
		if u > 1<<63 || -int64(u) < lo {
			return 0, batch.ReasonOutOfRange
		}
		return -u, ""
	}
	if u > uint64(hi) {
		return 0, batch.ReasonOutOfRange
	}
	return u, ""
}

func parseFloat(s []byte, t batch.Type) (uint64, batch.Reason) {
	// Only what can begin and continue a decimal goes on: strconv also takes hexadecimal and underscores.
	if len(s) == 0 || len(s) > 512 {
		return 0, batch.ReasonWrongType
	}
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9', c == '.', c == '+', c == '-', c == 'e', c == 'E':
		default:
			return 0, batch.ReasonWrongType
		}
	}
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(s), len(s)), 64)
	switch {
	case math.IsInf(f, 0):
		return 0, batch.ReasonOutOfRange
	case err != nil:
		return 0, batch.ReasonWrongType
	case t.Kind == batch.Float32 && math.IsInf(float64(float32(f)), 0):
		return 0, batch.ReasonOutOfRange
	}
	return math.Float64bits(f), ""
}
