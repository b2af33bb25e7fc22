package contender

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// sensorReading is a reading, parsed by one pass over its bytes. Texts point into the record.
type sensorReading struct {
	device, site, status []byte
	ts, seq              int64
	temp                 float64
}

// The columns that a reading must have.
const (
	hasDevice = 1 << iota
	hasSite
	hasStatus
	hasTS
	hasSeq
	hasTemp
	hasAll = hasDevice | hasSite | hasStatus | hasTS | hasSeq | hasTemp
)

var errOdd = errors.New("not a flat object as expected")

// parse reads a flat JSON object with these columns in any order, and others. What is not so simple goes to encoding/json.
func (r *sensorReading) parse(b []byte) error {
	if err := r.fast(b); err == nil {
		return nil
	}
	var v struct {
		Device, Site, Status *string
		TS, Seq              *int64
		Temp                 *float64
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("parse the reading: %w", err)
	}
	if v.Device == nil || v.Site == nil || v.Status == nil || v.TS == nil || v.Seq == nil || v.Temp == nil {
		return errors.New("the reading lacks a column")
	}
	*r = sensorReading{device: []byte(*v.Device), site: []byte(*v.Site), status: []byte(*v.Status), ts: *v.TS, seq: *v.Seq, temp: *v.Temp}
	return nil
}

func (r *sensorReading) fast(b []byte) error {
	if len(b) < 2 || b[0] != '{' || b[len(b)-1] != '}' {
		return errOdd
	}
	have := 0
	for i := 1; i < len(b)-1; {
		name, next := text(b, i)
		if next < 0 || next >= len(b) || b[next] != ':' {
			return errOdd
		}
		i = next + 1
		var value []byte
		if b[i] == '"' {
			if value, next = text(b, i); next < 0 {
				return errOdd
			}
		} else {
			for next = i; b[next] != ',' && b[next] != '}'; next++ {
				if c := b[next]; c == '{' || c == '[' || c == ' ' || c == '"' {
					return errOdd
				}
			}
			value = b[i:next]
		}
		quoted := b[i] == '"'
		ok := true
		switch string(name) {
		case "device":
			r.device, ok, have = value, quoted, have|hasDevice
		case "site":
			r.site, ok, have = value, quoted, have|hasSite
		case "status":
			r.status, ok, have = value, quoted, have|hasStatus
		case "ts":
			r.ts, ok = integer(value)
			ok, have = ok && !quoted, have|hasTS
		case "seq":
			r.seq, ok = integer(value)
			ok, have = ok && !quoted, have|hasSeq
		case "temp":
			r.temp, ok = decimal(value)
			ok, have = ok && !quoted, have|hasTemp
		}
		if !ok || next >= len(b) || b[next] != ',' && next != len(b)-1 {
			return errOdd
		}
		i = next + 1
	}
	if have != hasAll {
		return errOdd
	}
	return nil
}

// text is the string that begins at b[i], without its quotes, and where it ends; or -1 where it is odd.
func text(b []byte, i int) ([]byte, int) {
	if b[i] != '"' {
		return nil, -1
	}
	for j := i + 1; j < len(b); j++ {
		switch b[j] {
		case '"':
			return b[i+1 : j], j + 1
		case '\\':
			return nil, -1
		}
	}
	return nil, -1
}

func integer(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// powers are exact, and so is what they divide: up to 15 digits fit a float64, and one division rounds once.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

func decimal(b []byte) (float64, bool) {
	negative := len(b) > 0 && b[0] == '-'
	digits := b
	if negative {
		digits = b[1:]
	}
	var n int64
	point := -1
	for i, c := range digits {
		switch {
		case c == '.' && point < 0:
			point = i
		case c >= '0' && c <= '9' && i < 16:
			n = n*10 + int64(c-'0')
		default:
			f, err := strconv.ParseFloat(string(b), 64)
			return f, err == nil
		}
	}
	if len(digits) == 0 || n >= 1e15 {
		f, err := strconv.ParseFloat(string(b), 64)
		return f, err == nil
	}
	f := float64(n)
	if point >= 0 {
		f /= powers[len(digits)-point-1]
	}
	if negative {
		f = -f
	}
	return f, true
}
