package decode

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/weir-stream/weir/ingest/batch"
)

// minuteCache remembers the date, hour and minute of the last timestamp of a column: the next one has mostly the same. newMinuteCache makes it.
type minuteCache struct {
	head [2]uint64 // "2006-01-02T15:04" as it was written
	sec  int64
}

func newMinuteCache() minuteCache {
	const zero = "1970-01-01T00:00" // so that the cache never holds what is not a time
	return minuteCache{head: [2]uint64{binary.LittleEndian.Uint64([]byte(zero)), binary.LittleEndian.Uint64([]byte(zero[8:]))}}
}

// parseShort reads what most timestamps are, after the quote at the begin of b: the minute of the last one, seconds, up
// to nine digits of a fraction, Z, and the closing quote. end is the index after that, or 0 where it is not so.
func (m *minuteCache) parseShort(b []byte) (sec int64, nanos int64, end int) {
	if len(b) < len(`2006-01-02T15:04:05Z"`) ||
		binary.LittleEndian.Uint64(b) != m.head[0] || binary.LittleEndian.Uint64(b[8:]) != m.head[1] {
		return 0, 0, 0
	}
	s := twoDigits(b[17:])
	if b[16] != ':' || s > 59 {
		return 0, 0, 0
	}
	i := 19
	if b[i] == '.' {
		i = 20
		for i < len(b) && i < 29 && b[i]-'0' <= 9 {
			nanos = nanos*10 + int64(b[i]-'0')
			i++
		}
		if i == 20 {
			return 0, 0, 0
		}
		nanos *= int64(pow10[29-i])
	}
	if i+1 >= len(b) || b[i]|0x20 != 'z' || b[i+1] != '"' {
		return 0, 0, 0
	}
	return m.sec + int64(s), nanos, i + 2
}

// timeProblem says why a text is not a timestamp; the empty string is no problem.
type timeProblem string

// parseTime reads an RFC 3339 timestamp: seconds since 1970 and nanoseconds. Digits beyond nanoseconds are dropped,
// which is rounding down.
func (m *minuteCache) parseTime(b []byte) (sec int64, nanos int64, problem timeProblem) {
	if len(b) < len("2006-01-02T15:04:05Z") {
		return 0, 0, m.short(b)
	}
	h0, h1 := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if h0 != m.head[0] || h1 != m.head[1] {
		minute, problem := parseMinute(b[:16])
		if problem != "" {
			return 0, 0, problem
		}
		m.head, m.sec = [2]uint64{h0, h1}, minute
	}
	s := twoDigits(b[17:])
	if b[16] != ':' || s > 60 {
		return 0, 0, "seconds are not :00 to :59"
	}
	sec = m.sec + int64(s)
	i := 19
	if b[i] == '.' {
		i++
		start, scale := i, int64(1e8)
		for ; i < len(b) && b[i]-'0' <= 9; i++ {
			nanos += scale * int64(b[i]-'0')
			scale /= 10
		}
		if i == start {
			return 0, 0, "no digit after the point"
		}
	}
	if i == len(b) {
		return 0, 0, "no zone: end it with Z or an offset such as +02:00"
	}
	switch z := b[i:]; {
	case len(z) == 1 && z[0]|0x20 == 'z':
	case len(z) == len("+00:00") && (z[0] == '+' || z[0] == '-') && z[3] == ':':
		hour, minute := twoDigits(z[1:]), twoDigits(z[4:])
		if hour > 23 || minute > 59 {
			return 0, 0, "the zone's offset is not 00:00 to 23:59"
		}
		off := int64(hour*3600 + minute*60)
		if z[0] == '+' {
			off = -off
		}
		sec += off
	default:
		return 0, 0, "the zone is not Z or an offset such as +02:00"
	}
	if s == 60 && !endsMonth(sec) {
		return 0, 0, "a leap second that is not at the end of a month"
	}
	return sec, nanos, ""
}

// short says what is wrong with a text too short for a timestamp.
func (*minuteCache) short(b []byte) timeProblem {
	if len(b) >= 19 {
		if _, problem := parseMinute(b[:16]); problem == "" {
			return "no zone: end it with Z or an offset such as +02:00"
		}
	}
	return "it is too short"
}

// endsMonth tells whether a second is the first of a month in UTC, as the one after a leap second is.
func endsMonth(sec int64) bool {
	day := batch.FloorDiv(sec, 86400)
	if sec != day*86400 {
		return false
	}
	// The first of a month, by the inverse of daysOf (see there).
	z := day + 719468
	era := batch.FloorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	return doy == (153*mp+2)/5
}

// parseMinute reads "2006-01-02T15:04" to seconds since 1970.
func parseMinute(b []byte) (int64, timeProblem) {
	day, problem := parseDate(b[:10])
	if problem != "" {
		return 0, problem
	}
	if t := b[10]; t|0x20 != 't' && t != ' ' {
		return 0, "date and time are not joined by T"
	}
	hour, minute := twoDigits(b[11:]), twoDigits(b[14:])
	if b[13] != ':' || hour > 23 || minute > 59 {
		return 0, "the time is not 00:00 to 23:59"
	}
	return day*86400 + int64(hour*3600+minute*60), ""
}

// parseDate reads "2006-01-02" to days since 1970.
func parseDate(b []byte) (int64, timeProblem) {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' {
		return 0, "the date is not YYYY-MM-DD"
	}
	hi, lo, month, day := twoDigits(b), twoDigits(b[2:]), twoDigits(b[5:]), twoDigits(b[8:])
	if hi > 99 || lo > 99 || month > 99 || day > 99 {
		return 0, "the date is not YYYY-MM-DD"
	}
	year := int(hi*100 + lo)
	if month < 1 || month > 12 || day < 1 || int(day) > daysIn(year, int(month)) {
		return 0, "there is no such day"
	}
	return daysOf(year, int(month), int(day)), ""
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	default:
		return 31
	}
}

// daysOf counts the days since 1970 in the proleptic Gregorian calendar. Source: H. Hinnant, chrono-Compatible
// Low-Level Date Algorithms, days_from_civil.
func daysOf(year, month, day int) int64 {
	y := int64(year)
	if month <= 2 {
		y--
	}
	era := batch.FloorDiv(y, 400)
	yoe := y - era*400
	doy := int64((153*((month+9)%12)+2)/5 + day - 1)
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return era*146097 + doe - 719468
}

// twoDigits is the number b begins with, or more than 99 where that is not two digits.
func twoDigits(b []byte) uint {
	hi, lo := uint(b[0]-'0'), uint(b[1]-'0')
	if hi > 9 || lo > 9 {
		return 1000
	}
	return hi*10 + lo
}

// timeIn is a time in a unit, rounded down, and whether it fits.
func timeIn(sec, nanos int64, u batch.Unit) (int64, bool) {
	per := u.PerSecond()
	frac := nanos / (1e9 / per)
	if sec < 0 { // so that the product does not leave the range that the sum is in
		sec, frac = sec+1, frac-per
	}
	v, ok := mulInt64(sec, per)
	if !ok {
		return 0, false
	}
	sum := v + frac
	return sum, (sum > v) == (frac > 0)
}

// scaleTime converts a time between units, rounding down, and tells whether it fits.
func scaleTime(v int64, from, to batch.Unit) (int64, bool) {
	f, t := from.PerSecond(), to.PerSecond()
	if t >= f {
		return mulInt64(v, t/f)
	}
	return batch.FloorDiv(v, f/t), true
}

// scale10 is the power of ten that turns a time of one unit into another.
func scale10(from, to batch.Unit) int { return 3 * (int(to) - int(from)) }

func mulInt64(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(abs(a)), uint64(b))
	if hi != 0 || lo > math.MaxInt64 {
		return math.MinInt64, a < 0 && hi == 0 && lo == 1<<63
	}
	if a < 0 {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs(a int64) int64 {
	if a < 0 {
		return -a
	}
	return a
}
