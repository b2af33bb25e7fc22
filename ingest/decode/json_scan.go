package decode

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The walk returns the index after what it read, or one of these.
const (
	failed     = -1 // the writer holds the reject
	overflowed = -2 // string data does not fit
)

func outcomeOf(p int) outcome {
	if p == overflowed {
		return full
	}
	return rejected
}

// skipSpace is the index of the first byte at or after p that is not white space.
func skipSpace(data []byte, p int) int {
	for p < len(data) && data[p] <= ' ' && (data[p] == ' ' || data[p] == '\n' || data[p] == '\t' || data[p] == '\r') {
		p++
	}
	return p
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stops marks bytes of eight that end a run of plain string: the quote, the backslash, control characters. The lowest
// mark is exact; those above it may be false.
func stops(w uint64) uint64 {
	quote := w ^ lows*'"'
	slash := w ^ lows*'\\'
	return ((quote-lows)&^quote | (slash-lows)&^slash | (w-lows*0x20)&^w) & highs
}

// scanString finds the closing quote of the string whose text begins at p, checks the text, and tells whether it has
// escapes. end is negative on failure.
func (j *jsonFormat) scanString(data []byte, p int) (end int, escaped bool) {
	start, high := p, uint64(0)
	for {
		for p+8 <= len(data) {
			w := binary.LittleEndian.Uint64(data[p:])
			m := stops(w)
			if m != 0 {
				n := bits.TrailingZeros64(m) >> 3
				high |= w & (1<<(8*n) - 1)
				p += n
				break
			}
			high |= w
			p += 8
		}
		if p >= len(data) {
			return j.malformed(data, len(data), "the end of a string"), false
		}
		switch c := data[p]; {
		case c == '"':
			if high&highs != 0 && !utf8.Valid(data[start:p]) {
				return j.badUTF8(data, start), false
			}
			return p, escaped
		case c == '\\':
			escaped = true
			_, next := unescapeOne(data, p)
			if next < 0 {
				return j.badEscape(data, p), false
			}
			p = next
		case c < ' ':
			return j.malformed(data, p, "the end of a string, or an escape for a control character"), false
		default:
			high |= uint64(c)
			p++
		}
	}
}

// unescape is the text of the string that begins at p and was scanned before, in the scratch buffer. It is nil on
// failure only.
func (j *jsonFormat) unescape(data []byte, p int) []byte {
	out := j.scratch[:0]
	if out == nil {
		out = make([]byte, 0, 64)
	}
	for data[p] != '"' {
		if data[p] != '\\' {
			out = append(out, data[p])
			p++
			continue
		}
		var r rune
		r, p = unescapeOne(data, p)
		if p < 0 {
			return nil
		}
		out = utf8.AppendRune(out, r)
	}
	j.scratch = out
	return out
}

// unescapeOne reads the escape at p. A surrogate without its other half is U+FFFD. next is negative if it is no
// escape.
func unescapeOne(data []byte, p int) (r rune, next int) {
	if p+1 >= len(data) {
		return 0, failed
	}
	switch c := data[p+1]; c {
	case '"', '\\', '/':
		return rune(c), p + 2
	case 'b':
		return '\b', p + 2
	case 'f':
		return '\f', p + 2
	case 'n':
		return '\n', p + 2
	case 'r':
		return '\r', p + 2
	case 't':
		return '\t', p + 2
	case 'u':
		r := hex4(data, p+2)
		if r < 0 {
			return 0, failed
		}
		p += 6
		if !utf16.IsSurrogate(r) {
			return r, p
		}
		if p+1 < len(data) && data[p] == '\\' && data[p+1] == 'u' {
			if both := utf16.DecodeRune(r, hex4(data, p+2)); both != utf8.RuneError {
				return both, p + 6
			}
		}
		return utf8.RuneError, p
	default:
		return 0, failed
	}
}

// hex4 is the four hex digits at p, or negative.
func hex4(data []byte, p int) rune {
	if p+4 > len(data) {
		return -1
	}
	var r rune
	for _, c := range data[p : p+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// literal reads true, false or null.
func (j *jsonFormat) literal(data []byte, p int, word string) int {
	if len(data)-p < len(word) || string(data[p:p+len(word)]) != word {
		if strings.HasPrefix(word, unsafe.String(&data[p], len(data)-p)) {
			p = len(data)
		}
		return j.malformed(data, p, "a value")
	}
	return p + len(word)
}

// skip reads the value at p, which no column needs, inside of depth objects and arrays.
func (j *jsonFormat) skip(data []byte, p, depth int) int {
	var objects uint64 // bit d: the container at depth d is an object
	outer := depth
	for {
		// A value begins at p.
		if p >= len(data) {
			return j.malformed(data, p, "a value")
		}
		switch c := data[p]; {
		case c == '"':
			end, _ := j.scanString(data, p+1)
			if end < 0 {
				return end
			}
			p = end + 1
		case c == '-' || c-'0' <= 9:
			end, ok := scanNumber(data, p)
			if !ok {
				return j.malformed(data, end, "a number")
			}
			p = end
		case c == '{' || c == '[':
			if depth >= maxDepth {
				return j.tooDeep(p)
			}
			open := p
			p = skipSpace(data, p+1)
			if p < len(data) && data[p] == data[open]+2 { // } is two after {, and ] after [
				p++
				break
			}
			if c == '{' {
				objects |= 1 << depth
				if p = j.skipKey(data, p); p < 0 {
					return p
				}
			} else {
				objects &^= 1 << depth
			}
			depth++
			continue
		case c == 't':
			p = j.literal(data, p, "true")
		case c == 'f':
			p = j.literal(data, p, "false")
		default:
			p = j.literal(data, p, "null")
		}
		if p < 0 {
			return p
		}
		// A value has ended: close containers, go on to the next value.
		for depth > outer {
			inObject := objects&(1<<(depth-1)) != 0
			p = skipSpace(data, p)
			if p < len(data) && data[p] == ',' {
				p = skipSpace(data, p+1)
				if inObject {
					if p = j.skipKey(data, p); p < 0 {
						return p
					}
				}
				break
			}
			switch {
			case inObject && p < len(data) && data[p] == '}', !inObject && p < len(data) && data[p] == ']':
				p++
				depth--
			case inObject:
				return j.malformed(data, p, "a comma or the end of an object")
			default:
				return j.malformed(data, p, "a comma or the end of an array")
			}
		}
		if depth == outer {
			return p
		}
	}
}

// skipKey reads a key and its colon and returns the index of the value.
func (j *jsonFormat) skipKey(data []byte, p int) int {
	if p >= len(data) || data[p] != '"' {
		return j.malformed(data, p, "a key in quotes")
	}
	end, _ := j.scanString(data, p+1)
	if end < 0 {
		return end
	}
	p = skipSpace(data, end+1)
	if p >= len(data) || data[p] != ':' {
		return j.malformed(data, p, "a colon")
	}
	return skipSpace(data, p+1)
}

// scanNumber checks the number at p and returns the index after it, or where it stops being one.
func scanNumber(data []byte, p int) (end int, ok bool) {
	if p < len(data) && data[p] == '-' {
		p++
	}
	if p < len(data) && data[p] == '0' {
		p++
		if p < len(data) && data[p]-'0' <= 9 {
			return p, false
		}
	} else if p, ok = digitsAt(data, p); !ok {
		return p, false
	}
	if p < len(data) && data[p] == '.' {
		if p, ok = digitsAt(data, p+1); !ok {
			return p, false
		}
	}
	if p < len(data) && data[p]|0x20 == 'e' {
		p++
		if p < len(data) && (data[p] == '+' || data[p] == '-') {
			p++
		}
		if p, ok = digitsAt(data, p); !ok {
			return p, false
		}
	}
	return p, true
}

// digitsAt is the index after the digits at p, and whether there are any.
func digitsAt(data []byte, p int) (int, bool) {
	start := p
	for p < len(data) && data[p]-'0' <= 9 {
		p++
	}
	return p, p > start
}
