//go:build wasip1

package weir

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Value is a JSON value of the configuration. The zero Value is one that is not there.
type Value struct{ json string }

// Exists tells whether the value is there.
func (v Value) Exists() bool { return v.json != "" }

// Get is a value of an object, by its key.
func (v Value) Get(key string) Value {
	var found Value
	v.Each(func(k string, e Value) {
		if k == key && !found.Exists() {
			found = e
		}
	})
	return found
}

// Each calls f for the entries of an object, in order.
func (v Value) Each(f func(key string, value Value)) {
	s := v.json
	if s == "" || s[0] != '{' {
		return
	}
	for {
		s = space(s[1:]) // behind the brace or a comma
		if s == "" || s[0] != '"' {
			return
		}
		n := skip(s)
		key := Value{s[:n]}
		s = space(s[n:])
		if s == "" || s[0] != ':' {
			return
		}
		s = space(s[1:])
		n = skip(s)
		f(key.Text(""), Value{s[:n]})
		if s = space(s[n:]); s == "" || s[0] != ',' {
			return
		}
	}
}

// Elements calls f for the elements of an array, in order.
func (v Value) Elements(f func(value Value)) {
	s := v.json
	if s == "" || s[0] != '[' {
		return
	}
	for {
		s = space(s[1:]) // behind the bracket or a comma
		if s == "" || s[0] == ']' {
			return
		}
		n := skip(s)
		f(Value{s[:n]})
		if s = space(s[n:]); s == "" || s[0] != ',' {
			return
		}
	}
}

// Number is a number, or otherwise where the value is not one.
func (v Value) Number(otherwise float64) float64 {
	f, err := strconv.ParseFloat(v.json, 64)
	if err != nil || v.json[0] != '-' && (v.json[0] < '0' || v.json[0] > '9') {
		return otherwise
	}
	return f
}

// Text is a string, its escapes decoded, or otherwise where the value is not one. Half of a surrogate pair becomes U+FFFD.
func (v Value) Text(otherwise string) string {
	if v.json == "" || v.json[0] != '"' {
		return otherwise
	}
	s := v.json[1 : len(v.json)-1]
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			if out != nil {
				out = append(out, s[i])
			}
			continue
		}
		if out == nil {
			out = append(make([]byte, 0, len(s)), s[:i]...)
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				var both rune = utf8.RuneError
				if len(s)-i > 6 && s[i+1] == '\\' && s[i+2] == 'u' {
					both = utf16.DecodeRune(r, hex4(s[i+3:]))
				}
				if r = both; r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, s[i])
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}

// hex4 is the four hex digits at the beginning of s. The host made sure that it is JSON.
func hex4(s string) rune {
	n, _ := strconv.ParseUint(s[:4], 16, 16)
	return rune(n)
}

// Bool is true or false, or otherwise where the value is neither.
func (v Value) Bool(otherwise bool) bool {
	switch v.json {
	case "true":
		return true
	case "false":
		return false
	default:
		return otherwise
	}
}

// JSON is the value as it is written, for a JSON package.
func (v Value) JSON() string { return v.json }

func space(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\n' || s[0] == '\t' || s[0] == '\r') {
		s = s[1:]
	}
	return s
}

// skip is the length of the value that s starts with. The host made sure that it is JSON.
func skip(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(s))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}
