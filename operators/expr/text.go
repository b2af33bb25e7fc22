package expr

import (
	"bytes"
	"math/bits"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest string an expression may make, in bytes. A row that asks for more fails: a stream must not be
// able to grow memory through replace or +.
const maxText = 1 << 20

const tooLongText = "the string is longer than 1 MiB"

// testText is a predicate on a string and a constant, evaluated for the rows that are wanted only: it may be a regular
// expression behind a cheaper condition.
type testText struct {
	shape
	x node
	f func(s []byte) bool
}

func (x *testText) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d)
	out := &e.reg(d).bits
	*out = mask{}
	for w, word := range e.active {
		if v.valid != nil {
			word &= v.valid[w]
		}
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			if x.f(v.bytes(i)) {
				out.set(i)
			}
		}
	}
	return vec{bits: out, valid: v.valid}
}

// testTexts is a predicate on two strings.
type testTexts struct {
	shape
	l, r node
	f    func(s, t []byte) bool
}

func (x *testTexts) eval(e *Evaluator, d int) vec {
	l, r := x.l.eval(e, d), x.r.eval(e, d+1)
	out := &e.reg(d).bits
	*out = mask{}
	for i := range e.n {
		if x.f(l.bytes(i), r.bytes(i)) {
			out.set(i)
		}
	}
	return vec{bits: out, valid: e.both(d, l.valid, r.valid)}
}

// concat is + of strings; a + b + c is one node.
type concat struct {
	shape
	parts []node // 2 to maxParts
	text  string
}

const maxParts = 8

func (x *concat) eval(e *Evaluator, d int) vec {
	var parts [maxParts]vec
	vs := parts[:len(x.parts)]
	var valid *mask
	for k, p := range x.parts {
		vs[k] = p.eval(e, d+1+k)
		if vs[k].valid != nil {
			valid = e.both(d, valid, vs[k].valid)
		}
	}
	off, data := e.text(d)
	for i := range e.n {
		if valid == nil || valid.get(i) {
			mark := len(data)
			for k := range vs {
				data = append(data, vs[k].bytes(i)...)
			}
			if len(data)-mark > maxText {
				e.failText(i, valid, x.text)
				data = data[:mark]
			}
		}
		off[i+1] = int32(len(data))
	}
	return e.keep(d, off, data, valid)
}

// partsOf flattens the left side of a concatenation.
func partsOf(l, r node) []node {
	if c, ok := l.(*concat); ok && len(c.parts) < maxParts {
		return append(c.parts[:len(c.parts):len(c.parts)], r)
	}
	return []node{l, r}
}

// mapText makes a string of every string; the function appends to dst.
type mapText struct {
	shape
	x    node
	f    func(dst, s []byte) []byte
	text string
}

func (x *mapText) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d+1)
	off, data := e.text(d)
	for i := range e.n {
		if v.ok(i) && e.active.get(i) {
			mark := len(data)
			data = x.f(data, v.bytes(i))
			if len(data)-mark > maxText {
				e.failText(i, v.valid, x.text)
				data = data[:mark]
			}
		}
		off[i+1] = int32(len(data))
	}
	return e.keep(d, off, data, e.hold(d, v.valid))
}

func appendLower(dst, s []byte) []byte { return appendCase(dst, s, 'A', 'Z', unicode.ToLower) }
func appendUpper(dst, s []byte) []byte { return appendCase(dst, s, 'a', 'z', unicode.ToUpper) }

func appendCase(dst, s []byte, from, to byte, f func(rune) rune) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if from <= c && c <= to {
				c ^= 0x20
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, f(r))
		}
		i += n
	}
	return dst
}

func appendTrimmed(dst, s []byte) []byte { return append(dst, bytes.TrimSpace(s)...) }

// appendReplaced replaces every occurrence of a non-empty string. It stops once the result is too long.
func appendReplaced(dst, s, old, with []byte) []byte {
	mark := len(dst)
	for len(dst)-mark <= maxText {
		i := bytes.Index(s, old)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(append(dst, s[:i]...), with...)
		s = s[i+len(old):]
	}
	return dst
}

// textLen is the number of characters of a string, or of bytes of a binary value.
type textLen struct {
	shape
	x     node
	bytes bool
}

func (x *textLen) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d)
	num := e.nums(d)
	for i := range num {
		if x.bytes {
			num[i] = uint64(len(v.bytes(i)))
		} else {
			num[i] = uint64(utf8.RuneCount(v.bytes(i)))
		}
	}
	return vec{num: num, valid: v.valid}
}

// substr is the characters of a string from a position on; the first is 0, a negative one counts from the end.
type substr struct {
	shape
	x, from, count node
}

func (x *substr) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d+1)
	from := e.dense(x.from.eval(e, d+2), d+2)
	count := e.dense(x.count.eval(e, d+3), d+3)
	valid := e.both(d, v.valid, from.valid)
	valid = e.both(d, valid, count.valid)
	off, data := e.text(d)
	for i := range e.n {
		if valid == nil || valid.get(i) {
			data = append(data, cutText(v.bytes(i), int64(from.num[i]), int64(count.num[i]))...)
		}
		off[i+1] = int32(len(data))
	}
	return e.keep(d, off, data, valid)
}

func cutText(s []byte, from, count int64) []byte {
	if from < 0 {
		from = max(from+int64(utf8.RuneCount(s)), 0)
	}
	for ; from > 0 && len(s) > 0; from-- {
		_, n := utf8.DecodeRune(s)
		s = s[n:]
	}
	end := 0
	for ; count > 0 && end < len(s); count-- {
		_, n := utf8.DecodeRune(s[end:])
		end += n
	}
	return s[:end]
}

// part is the n-th piece of a string cut at a separator, the first being 0, or null where there are fewer.
type part struct {
	shape
	x, n node
	sep  []byte
}

func (x *part) eval(e *Evaluator, d int) vec {
	v := x.x.eval(e, d+1)
	n := e.dense(x.n.eval(e, d+2), d+2)
	in := e.both(d+1, v.valid, n.valid)
	off, data := e.text(d)
	out := &e.reg(d).valid
	out.ones(e.n)
	for i := range e.n {
		if in == nil || in.get(i) {
			if p, ok := pieceOf(v.bytes(i), x.sep, int64(n.num[i])); ok {
				data = append(data, p...)
			} else {
				out.clear(i)
			}
		} else {
			out.clear(i)
		}
		off[i+1] = int32(len(data))
	}
	return e.keep(d, off, data, out)
}

func pieceOf(s, sep []byte, n int64) ([]byte, bool) {
	if n < 0 {
		return nil, false
	}
	for ; n > 0; n-- {
		i := bytes.Index(s, sep)
		if i < 0 {
			return nil, false
		}
		s = s[i+len(sep):]
	}
	if i := bytes.Index(s, sep); i >= 0 {
		s = s[:i]
	}
	return s, true
}
