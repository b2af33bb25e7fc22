package config

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Text is a piece of the file with a language of its own inside, such as an expression: its value, where it starts, and
// where every byte of it stood.
type Text struct {
	Value string
	Pos   Pos
	marks []mark
	raw   string // as it is written, where that has references; see Written
}

// Written is the value before its references were expanded: what they lead to may be a secret.
func (t Text) Written() string {
	if t.raw != "" {
		return t.raw
	}
	return t.Value
}

// mark says that from byte off of a value on, characters stand side by side from pos.
type mark struct {
	off int
	pos Pos
}

// PosAt is the place in the file of a byte of the value. Quotes, escapes, folded lines and expanded references are
// accounted for; an offset past the end is the place behind the last character.
func (t Text) PosAt(byteOffset int) Pos {
	byteOffset = max(0, min(byteOffset, len(t.Value)))
	m := mark{pos: t.Pos}
	for _, next := range t.marks {
		if next.off > byteOffset {
			break
		}
		m = next
	}
	m.pos.Col += utf8.RuneCountInString(t.Value[m.off:byteOffset])
	return m.pos
}

// places gives the places of bytes of a text in ascending order, each in the time it takes to get there.
type places struct {
	t    Text
	next int // index of the mark after the current one
	off  int
	pos  Pos
}

func (t Text) places() *places { return &places{t: t, pos: t.Pos} }

// at is t.PosAt(off) for an off not below the last one.
func (p *places) at(off int) Pos {
	for p.next < len(p.t.marks) && p.t.marks[p.next].off <= off {
		p.off, p.pos = p.t.marks[p.next].off, p.t.marks[p.next].pos
		p.next++
	}
	p.pos.Col += utf8.RuneCountInString(p.t.Value[p.off:off])
	p.off = off
	return p.pos
}

// Ident is a name and where it stands.
type Ident struct {
	Name string
	Pos  Pos
}

// source is a file's text as lines.
type source struct {
	lines []string
	index map[int][]int // for long lines: the byte where every indexEvery-th character starts

	// What was found out before: aliases ask for the same values again and again.
	starts map[*yaml.Node]Pos
	texts  map[*yaml.Node]Text
}

// indexEvery keeps the way to a column short on lines that are as long as the file.
const indexEvery = 256

func newSource(text string) *source {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	return &source{
		lines: strings.Split(text, "\n"), index: map[int][]int{},
		starts: map[*yaml.Node]Pos{}, texts: map[*yaml.Node]Text{},
	}
}

// line is the text of a line counted from 1, without its break.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.lines) {
		return ""
	}
	return s.lines[n-1]
}

// cursor walks the characters of a source.
type cursor struct {
	src *source
	pos Pos
	off int // byte in the line
}

func (s *source) cursor(at Pos) cursor {
	c := cursor{src: s, pos: Pos{Line: at.Line, Col: 1}}
	if at.Col > indexEvery {
		i := min((at.Col-1)/indexEvery, len(s.indexOf(at.Line))-1)
		c.pos.Col, c.off = 1+i*indexEvery, s.indexOf(at.Line)[i]
	}
	for c.pos.Col < at.Col && c.off < len(s.line(at.Line)) {
		c.next()
	}
	return c
}

// indexOf is the index of a line, made when it is first needed.
func (s *source) indexOf(n int) []int {
	if s.index[n] == nil {
		ix, chars := []int{}, 0
		for off := range s.line(n) {
			if chars%indexEvery == 0 {
				ix = append(ix, off)
			}
			chars++
		}
		if len(ix) == 0 {
			ix = []int{0}
		}
		s.index[n] = ix
	}
	return s.index[n]
}

// peek is the character here; the end of a line is '\n', the end of the file -1.
func (c *cursor) peek() rune {
	line := c.src.line(c.pos.Line)
	if c.off < len(line) {
		r, _ := utf8.DecodeRuneInString(line[c.off:])
		return r
	}
	if c.pos.Line < len(c.src.lines) {
		return '\n'
	}
	return -1
}

func (c *cursor) next() {
	line := c.src.line(c.pos.Line)
	if c.off >= len(line) {
		c.pos, c.off = Pos{Line: c.pos.Line + 1, Col: 1}, 0
		return
	}
	_, n := utf8.DecodeRuneInString(line[c.off:])
	c.off += n
	c.pos.Col++
}

func blank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

// start is where a value itself begins, behind its anchor and tag.
func (s *source) start(n *yaml.Node) Pos {
	if pos, known := s.starts[n]; known {
		return pos
	}
	c := s.cursor(posOf(n))
	for c.peek() == '&' || c.peek() == '!' {
		for !blank(c.peek()) && c.peek() >= 0 {
			c.next()
		}
		for blank(c.peek()) {
			c.next()
		}
	}
	if c.peek() < 0 { // there is an anchor or a tag, and nothing behind it
		c.pos = posOf(n)
	}
	s.starts[n] = c.pos
	return c.pos
}

// textOf finds where the bytes of a scalar's value stand. The value's characters other than white space come in the
// same order as in the file, whatever the style folds and strips, so the two are walked side by side; should they ever
// disagree, the last known place is good enough for a message.
func (s *source) textOf(n *yaml.Node) Text {
	if t, known := s.texts[n]; known {
		return t
	}
	c := s.cursor(s.start(n))
	switch {
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		c.next()
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		for c.peek() != '\n' && c.peek() >= 0 {
			c.next()
		}
		for blank(c.peek()) {
			c.next()
		}
	}
	t := Text{Value: n.Value, Pos: c.pos}
	expect := Pos{}
	for off, r := range n.Value {
		at := c
		ok := c.take(r, n.Style)
		if blank(r) {
			if ok && at.pos != expect {
				t.marks = append(t.marks, mark{off, at.pos})
			}
			expect = c.pos
			if !ok || c.pos.Col != at.pos.Col+1 {
				expect = Pos{}
			}
			continue
		}
		for !ok && blank(at.peek()) {
			at.next()
			c = at
			ok = c.take(r, n.Style)
		}
		if !ok {
			break
		}
		if at.pos != expect {
			t.marks = append(t.marks, mark{off, at.pos})
		}
		expect = c.pos
		if c.pos.Col != at.pos.Col+1 { // an escape: wider in the file than in the value
			expect = Pos{}
		}
	}
	s.texts[n] = t
	return t
}

// take steps over the file's spelling of one character of a value, if that is what stands here.
func (c *cursor) take(r rune, style yaml.Style) bool {
	have := c.peek()
	if have < 0 {
		return false
	}
	if style&yaml.DoubleQuotedStyle != 0 && have == '\\' {
		return c.takeEscape(r)
	}
	if have != r || r == '\n' {
		return false
	}
	c.next()
	if style&yaml.SingleQuotedStyle != 0 && r == '\'' {
		c.next() // '' is one quote
	}
	return true
}

// takeEscape steps over an escape of a double-quoted scalar, as YAML 1.2 section 5.7 lists them.
func (c *cursor) takeEscape(want rune) bool {
	start := *c
	c.next()
	e := c.peek()
	c.next()
	if e == '\n' { // an escaped line break is nothing, and so is the indentation after it
		for blank(c.peek()) {
			c.next()
		}
		return c.take(want, yaml.DoubleQuotedStyle)
	}
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[e]
	got := e
	if digits > 0 {
		hex := ""
		for range digits {
			hex += string(c.peek())
			c.next()
		}
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			*c = start
			return false
		}
		got = rune(n)
	} else if i := strings.IndexRune("0abtnvfreN_LP\t", e); i >= 0 {
		got = []rune{0, 7, 8, 9, 10, 11, 12, 13, 27, 0x85, 0xa0, 0x2028, 0x2029, 9}[i]
	}
	if got != want {
		*c = start
		return false
	}
	return true
}
