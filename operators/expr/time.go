package expr

import (
	"strconv"

	"github.com/weir-stream/weir/ingest/batch"
)

const (
	daySeconds  = 86400
	nanosPerSec = 1_000_000_000
)

// floorMod is what batch.FloorDiv leaves. The divisor is positive.
func floorMod(a, b int64) int64 {
	m := a % b
	if m < 0 {
		m += b
	}
	return m
}

// civil turns days since 1970-01-01 into a date of the proleptic Gregorian calendar.
// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
func civil(days int64) (year, month, day int64) {
	z := days + 719468
	era := batch.FloorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if mp >= 10 {
		month = mp - 9
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, day
}

// daysOf is the inverse of civil (days_from_civil of the same source).
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
	}
	era := batch.FloorDiv(year, 400)
	yoe := year - era*400
	mp := month - 3
	if month <= 2 {
		mp = month + 9
	}
	doe := yoe*365 + yoe/4 - yoe/100 + (153*mp+2)/5 + day - 1
	return era*146097 + doe - 719468
}

func daysInMonth(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	default:
		return 31
	}
}

// timeField is a number taken from a timestamp or date, in UTC.
type timeField struct {
	shape
	x node
	f func(day, second int64) int64 // days since 1970, second of the day
}

func (x *timeField) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	num := e.nums(d)
	out, in := view[int64](num), view[int64](v.num)
	if x.x.info().t.Kind == batch.Date32 {
		for i, day := range in {
			out[i] = x.f(day, 0)
		}
		return vec{num: num, valid: v.valid}
	}
	per := x.x.info().t.Unit.PerSecond()
	for i, t := range in {
		sec := batch.FloorDiv(t, per)
		day := batch.FloorDiv(sec, daySeconds)
		out[i] = x.f(day, sec-day*daySeconds)
	}
	return vec{num: num, valid: v.valid}
}

var timeFields = map[string]func(day, second int64) int64{
	"hour":   func(_, s int64) int64 { return s / 3600 },
	"minute": func(_, s int64) int64 { return s / 60 % 60 },
	"second": func(_, s int64) int64 { return s % 60 },
	"year":   func(d, _ int64) int64 { y, _, _ := civil(d); return y },
	"month":  func(d, _ int64) int64 { _, m, _ := civil(d); return m },
	"day":    func(d, _ int64) int64 { _, _, d = civil(d); return d },
	// 1970-01-01 was a Thursday, day 4 of ISO 8601.
	"dayOfWeek": func(d, _ int64) int64 { return floorMod(d+3, 7) + 1 },
}

// rescale multiplies or floors an int64: timestamps to a unit, timestamps to dates and back. Overflow fails the row.
type rescale struct {
	shape
	x        node
	mul, div int64 // one of them is 1
	text     string
}

func (x *rescale) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	num := e.nums(d)
	out := view[int64](num)
	if x.div > 1 {
		for i, n := range view[int64](v.num) {
			out[i] = batch.FloorDiv(n, x.div)
		}
		return vec{num: num, valid: v.valid}
	}
	for i, n := range view[int64](v.num) {
		p, ok := mul(n, x.mul)
		if !ok {
			e.failText(i, v.valid, x.text)
		}
		out[i] = p
	}
	return vec{num: num, valid: v.valid}
}

// truncTime floors a timestamp to a multiple of a duration since 1970.
type truncTime struct {
	shape
	x    node
	step int64 // in the timestamp's unit, positive
	text string
}

func (x *truncTime) eval(e *Evaluator, d int) vec {
	v := e.dense(x.x.eval(e, d), d)
	num := e.nums(d)
	out := view[int64](num)
	for i, n := range view[int64](v.num) {
		m := floorMod(n, x.step)
		if n-m > n {
			e.failText(i, v.valid, x.text)
		}
		out[i] = n - m
	}
	return vec{num: num, valid: v.valid}
}

// parseTime reads RFC 3339 (profile of ISO 8601), and beyond it: a space for the T, no zone for UTC, a date alone. It
// gives seconds and nanoseconds since 1970, and the digits of the fraction.
func parseTime(s []byte) (sec, nsec int64, digits int, ok bool) {
	year, month, day, s, ok := parseDay(s)
	if !ok {
		return 0, 0, 0, false
	}
	sec = daysOf(year, month, day) * daySeconds
	if len(s) == 0 {
		return sec, 0, 0, true
	}
	if s[0] != 'T' && s[0] != 't' && s[0] != ' ' || len(s) < 9 || s[3] != ':' || s[6] != ':' {
		return 0, 0, 0, false
	}
	h, ok1 := decimal(s[1:3])
	m, ok2 := decimal(s[4:6])
	c, ok3 := decimal(s[7:9])
	if !ok1 || !ok2 || !ok3 || h > 23 || m > 59 || c > 59 {
		return 0, 0, 0, false
	}
	sec += h*3600 + m*60 + c
	s = s[9:]
	if len(s) > 0 && s[0] == '.' {
		s = s[1:]
		for len(s) > 0 && '0' <= s[0] && s[0] <= '9' {
			if digits++; digits > 9 {
				return 0, 0, 0, false
			}
			nsec = nsec*10 + int64(s[0]-'0')
			s = s[1:]
		}
		if digits == 0 {
			return 0, 0, 0, false
		}
		for range 9 - digits {
			nsec *= 10
		}
	}
	switch {
	case len(s) == 0, len(s) == 1 && (s[0] == 'Z' || s[0] == 'z'):
		return sec, nsec, digits, true
	case len(s) == 6 && (s[0] == '+' || s[0] == '-') && s[3] == ':':
		h, ok1 := decimal(s[1:3])
		m, ok2 := decimal(s[4:6])
		if !ok1 || !ok2 || h > 23 || m > 59 {
			return 0, 0, 0, false
		}
		east := h*3600 + m*60
		if s[0] == '-' {
			east = -east
		}
		return sec - east, nsec, digits, true
	default:
		return 0, 0, 0, false
	}
}

// parseDay reads a YYYY-MM-DD at the beginning and returns the rest.
func parseDay(s []byte) (year, month, day int64, rest []byte, ok bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return 0, 0, 0, nil, false
	}
	year, ok1 := decimal(s[:4])
	month, ok2 := decimal(s[5:7])
	day, ok3 := decimal(s[8:10])
	ok = ok1 && ok2 && ok3 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month)
	return year, month, day, s[10:], ok
}

func decimal(s []byte) (n int64, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

func appendPadded(dst []byte, n int64, width int) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	for p, w := int64(10), 1; w < width; p, w = p*10, w+1 {
		if n < p {
			for ; w < width; w++ {
				dst = append(dst, '0')
			}
			break
		}
	}
	return strconv.AppendInt(dst, n, 10)
}

func appendDay(dst []byte, days int64) []byte {
	y, m, d := civil(days)
	dst = append(appendPadded(dst, y, 4), '-')
	dst = append(appendPadded(dst, m, 2), '-')
	return appendPadded(dst, d, 2)
}

// appendTimestamp writes RFC 3339 in UTC with all digits of the unit.
func appendTimestamp(dst []byte, t int64, u batch.Unit) []byte {
	per := u.PerSecond()
	sec := batch.FloorDiv(t, per)
	day := batch.FloorDiv(sec, daySeconds)
	s := sec - day*daySeconds
	dst = append(appendDay(dst, day), 'T')
	dst = append(appendPadded(dst, s/3600, 2), ':')
	dst = append(appendPadded(dst, s/60%60, 2), ':')
	dst = appendPadded(dst, s%60, 2)
	if u != batch.Second {
		dst = append(dst, '.')
		dst = appendPadded(dst, t-sec*per, 3*int(u))
	}
	return append(dst, 'Z')
}
