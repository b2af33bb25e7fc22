package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"
)

// sheet writes an answer row by row. The cells of row are the caller's and may be overwritten after it returns.
type sheet interface {
	begin(cols []column) error
	row(cells []any) error
	end() error
}

// tableSheet is an aligned table. The first rows decide the widths, so that an answer of any size streams; a later cell
// that is wider moves the rest of its line.
type tableSheet struct {
	w     *bufio.Writer
	cols  []column
	width []int
	held  [][]string // rows kept until the widths are known; nil after that
	bytes int
	line  []byte // reused
}

// What decides the widths, at most.
const (
	tableRows  = 1000
	tableBytes = 1 << 20
	maxCell    = 500 // characters of a cell that are shown
)

func newTableSheet(w io.Writer) *tableSheet {
	return &tableSheet{w: bufio.NewWriter(w), held: [][]string{}}
}

func (t *tableSheet) begin(cols []column) error {
	t.cols, t.width = cols, make([]int, len(cols))
	header := make([]string, len(cols))
	for i, c := range cols {
		header[i] = printable(c.name)
	}
	if len(cols) == 0 {
		t.held = nil
		return nil
	}
	return t.add(header)
}

func (t *tableSheet) row(cells []any) error {
	texts := make([]string, len(cells))
	for i, v := range cells {
		texts[i] = clip(printable(t.cols[i].text(v)))
	}
	return t.add(texts)
}

func (t *tableSheet) add(texts []string) error {
	if t.held == nil {
		return t.print(texts)
	}
	t.held = append(t.held, texts)
	for i, s := range texts {
		t.width[i] = max(t.width[i], utf8.RuneCountInString(s))
		t.bytes += len(s)
	}
	if len(t.held) > tableRows || t.bytes > tableBytes {
		return t.flush()
	}
	return nil
}

func (t *tableSheet) flush() error {
	held := t.held
	t.held = nil
	for _, texts := range held {
		if err := t.print(texts); err != nil {
			return err
		}
	}
	return nil
}

func (t *tableSheet) print(texts []string) error {
	line := t.line[:0]
	for i, s := range texts {
		if i > 0 {
			line = append(line, "  "...)
		}
		pad := max(0, t.width[i]-utf8.RuneCountInString(s))
		if t.cols[i].number {
			line = append(appendSpaces(line, pad), s...)
		} else {
			line = appendSpaces(append(line, s...), pad)
		}
	}
	t.line = append(bytes.TrimRight(line, " "), '\n')
	_, err := t.w.Write(t.line)
	return err
}

func appendSpaces(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

func (t *tableSheet) end() error {
	if err := t.flush(); err != nil {
		return err
	}
	return t.w.Flush()
}

// clip cuts a text to what a table shows.
func clip(s string) string {
	if len(s) <= maxCell {
		return s
	}
	n := 0
	for i := range s {
		if n++; n > maxCell {
			return s[:i] + "…"
		}
	}
	return s
}

// printable escapes what would move the cursor or change the terminal.
func printable(s string) string {
	clean := func(r rune) bool { return r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0) && r != utf8.RuneError }
	if strings.IndexFunc(s, func(r rune) bool { return !clean(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + hexByte(s[i]))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case !clean(r) && r < 0x100:
			b.WriteString(`\x` + hexByte(byte(r)))
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func hexByte(c byte) string {
	return string([]byte{"0123456789abcdef"[c>>4], "0123456789abcdef"[c&15]})
}

// csvSheet is RFC 4180 with a header. NULL is an empty field.
type csvSheet struct {
	w    *csv.Writer
	cols []column
}

func newCSVSheet(w io.Writer) *csvSheet { return &csvSheet{w: csv.NewWriter(w)} }

func (c *csvSheet) begin(cols []column) error {
	c.cols = cols
	if len(cols) == 0 {
		return nil
	}
	header := make([]string, len(cols))
	for i := range cols {
		header[i] = cols[i].name
	}
	return c.w.Write(header)
}

func (c *csvSheet) row(cells []any) error {
	texts := make([]string, len(cells))
	for i, v := range cells {
		if !isNull(v) {
			texts[i] = c.cols[i].text(v)
		}
	}
	return c.w.Write(texts)
}

func (c *csvSheet) end() error {
	c.w.Flush()
	return c.w.Error()
}

// jsonSheet is an array of objects, or an object per line. Keys come in the order of the columns.
type jsonSheet struct {
	w     *bufio.Writer
	array bool
	cols  []column
	keys  [][]byte
	rows  int
}

func newJSONSheet(w io.Writer, array bool) *jsonSheet {
	return &jsonSheet{w: bufio.NewWriter(w), array: array}
}

func (j *jsonSheet) begin(cols []column) error {
	j.cols = cols
	for _, c := range cols {
		key, err := json.Marshal(c.name)
		if err != nil {
			return err
		}
		j.keys = append(j.keys, key)
	}
	return nil
}

func (j *jsonSheet) row(cells []any) error {
	var b bytes.Buffer
	switch {
	case j.array && j.rows == 0:
		b.WriteString("[\n")
	case j.array:
		b.WriteString(",\n")
	}
	j.rows++
	b.WriteByte('{')
	for i, v := range cells {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(j.keys[i])
		b.WriteByte(':')
		if err := j.cols[i].json(&b, v); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	if !j.array {
		b.WriteByte('\n')
	}
	_, err := j.w.Write(b.Bytes())
	return err
}

func (j *jsonSheet) end() error {
	switch {
	case j.array && j.rows == 0:
		_, _ = j.w.WriteString("[]\n") // bufio keeps its first error
	case j.array:
		_, _ = j.w.WriteString("\n]\n")
	}
	return j.w.Flush()
}
