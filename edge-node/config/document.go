package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// What a file may be at most. A real pipeline has a few hundred lines.
const (
	maxFile   = 1 << 20 // bytes
	maxDepth  = 64      // mappings and lists in one another
	maxValues = 100_000 // values, those that aliases repeat included
	maxText   = 4 << 20 // bytes of all text, with aliases and references expanded
)

// document parses the bytes of one YAML document and checks what holds for every file: encoding, size, depth, aliases,
// tags, duplicate keys. It returns nil when the errors leave nothing to read.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > maxFile {
		r.addf(Pos{1, 1}, "", "the file is larger than %d bytes", maxFile)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if pos, problem := unreadable(data); problem != "" {
		r.addf(pos, "", "%s", problem)
		return nil
	}
	r.src = newSource(string(data))

	dec := yaml.NewDecoder(bytes.NewReader(hideQuestionMarks(data)))
	var doc, second yaml.Node
	err := decodeNode(dec, &doc)
	switch {
	case errors.Is(err, io.EOF):
		r.addf(Pos{1, 1}, "", "the file is empty")
		return nil
	case err != nil:
		r.addSyntax(err)
		return nil
	}
	err = decodeNode(dec, &second)
	switch {
	case err == nil:
		r.addf(Pos{max(second.Line, 1), max(second.Column, 1)}, "",
			"a second document begins here").WithHint("a file holds one; put the other in a file of its own")
		return nil
	case !errors.Is(err, io.EOF):
		r.addSyntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.addf(Pos{1, 1}, "", "the file is empty")
		return nil
	}
	showQuestionMarks(doc.Content[0])
	check := treeCheck{r: r, open: map[*yaml.Node]bool{}}
	if !check.node(doc.Content[0], 1, false) {
		return nil
	}
	return doc.Content[0]
}

// decodeNode parses the next document. The parser reports its own bugs by panicking.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("yaml: %v", v)
		}
	}()
	return dec.Decode(n)
}

// questionMark stands for a question mark while the YAML is parsed. The parser ends a plain scalar between { } or [ ] at
// every question mark, as YAML 1.0 did, so that {type: float64?, path: a.b} would be an error; in YAML 1.2 one inside a
// word has no meaning. The character is from the private use area, and files may not have it.
const questionMark = '\uf8f0'

// hideQuestionMarks replaces those that follow a character of a word.
func hideQuestionMarks(data []byte) []byte {
	if !bytes.Contains(data, []byte("?")) {
		return data
	}
	out := make([]byte, 0, len(data)+16)
	before := byte(' ')
	for _, c := range data {
		if c == '?' && !strings.ContainsRune(" \t\r\n,[]{}:\"'", rune(before)) {
			out = utf8.AppendRune(out, questionMark)
		} else {
			out = append(out, c)
		}
		before = c
	}
	return out
}

// showQuestionMarks puts them back.
func showQuestionMarks(n *yaml.Node) {
	n.Value = strings.ReplaceAll(n.Value, string(questionMark), "?")
	for _, child := range n.Content {
		showQuestionMarks(child)
	}
}

// unreadable finds bytes that no configuration should have: broken UTF-8, control characters, and line breaks that
// editors do not count.
func unreadable(data []byte) (Pos, string) {
	pos := Pos{1, 1}
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && n <= 1:
			hint := "save it as UTF-8"
			if i == 0 && len(data) > 1 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff) {
				hint = "it looks like UTF-16: save it as UTF-8"
			}
			return pos, fmt.Sprintf("the file is not UTF-8: byte 0x%02x; %s", data[i], hint)
		case c == '\n' || c == '\r':
			if c == '\r' && i+1 < len(data) && data[i+1] == '\n' {
				n++
			}
			pos = Pos{pos.Line + 1, 1}
			i += n
			continue
		case c < ' ' && c != '\t', c == 0x7f, c >= 0x80 && c < 0xa0, c == 0x2028, c == 0x2029, c == 0xfeff, c == 0xfffe, c == 0xffff, c == questionMark:
			return pos, fmt.Sprintf("the character U+%04X is not allowed here; write it as an escape in double quotes", c)
		}
		pos.Col++
		i += n
	}
	return Pos{}, ""
}

// treeCheck walks all values of a document, aliases followed.
type treeCheck struct {
	r      *reader
	values int
	text   int
	open   map[*yaml.Node]bool // the values around the current one
}

// node checks a value and what is in it. False means that the document must not be read on.
func (c *treeCheck) node(n *yaml.Node, depth int, aliased bool) bool {
	c.values++
	if c.values > maxValues {
		c.r.addf(posOf(n), "", "the file has more than %d values once its aliases are expanded", maxValues)
		return false
	}
	if c.text += len(n.Value); c.text > maxText {
		c.r.addf(posOf(n), "", "the file has more than %d bytes of text once its aliases are expanded", maxText)
		return false
	}
	if depth > maxDepth {
		c.r.addf(posOf(n), "", "values are nested more than %d deep", maxDepth)
		return false
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil || c.open[n.Alias] {
			c.r.addf(posOf(n), "", "the alias *%s stands inside the value it repeats", n.Value)
			return false
		}
		return c.node(n.Alias, depth, true)
	}
	if n.Style&yaml.TaggedStyle != 0 && !slices.Contains(plainTags, n.Tag) && !aliased {
		c.r.addf(posOf(n), "", "the tag %s is not supported", n.Tag).WithHint("write the value without it")
	}
	c.open[n] = true
	defer delete(c.open, n)
	if n.Kind == yaml.MappingNode && !aliased {
		c.keys(n)
	}
	for _, child := range n.Content {
		if !c.node(child, depth+1, aliased) {
			return false
		}
	}
	return true
}

var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq"}

// keys reports keys that are no text or stand twice in one mapping.
func (c *treeCheck) keys(n *yaml.Node) {
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case k.Kind != yaml.ScalarNode:
			c.r.addf(posOf(k), "", "a key must be plain text")
		case k.Tag == "!!merge":
			c.r.addf(posOf(k), "", "merge keys are not supported").WithHint("repeat the keys, or use an alias for a whole value")
		case first[k.Value] != nil:
			c.r.addf(posOf(k), "", "the key %s is here twice", quote(k.Value)).WithHint("the first is in line %d", first[k.Value].Line)
		default:
			first[k.Value] = k
		}
	}
}

func posOf(n *yaml.Node) Pos { return Pos{Line: max(n.Line, 1), Col: max(n.Column, 1)} }

// timestampInFlow is a type whose brackets YAML takes for a list.
var timestampInFlow = regexp.MustCompile(`[:,{] *timestamp\[(s|ms|us|ns)\]\??[,}]`)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (r *reader) addSyntax(err error) {
	e := r.syntaxError(err)
	_ = r.addf(Pos{e.Line, e.Col}, "", "%s", e.Msg).WithHint("%s", e.Hint)
}

// syntaxError turns the parser's message into one with a place and a hint. The parser gives only a line, and for errors
// of structure the line before, so the place is looked for in the text.
func (r *reader) syntaxError(err error) *Error {
	m := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), string(questionMark), "?"))
	if m == nil {
		return &Error{File: r.file, Line: 1, Col: 1, Msg: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	line, _ := strconv.Atoi(m[1])
	line = max(1, min(line, len(r.src.lines)))
	problem := m[2]
	switch {
	case strings.HasPrefix(problem, "did not find expected key"), strings.HasPrefix(problem, "did not find expected '-' indicator"):
		from := line
		line = r.firstWith(problem)
		if open := r.openQuote(from, line); open > 0 {
			line, problem = open, "a quote from here on is not closed, or closed in line "+strconv.Itoa(line)
		}
	case strings.HasPrefix(problem, "did not find expected") && line < len(r.src.lines):
		line++
	}
	if pos, ok := r.tabIndent(line); ok && (strings.Contains(problem, "tab") || strings.Contains(problem, "cannot start any token") ||
		strings.Contains(problem, "did not find expected") || strings.Contains(problem, "could not find expected")) {
		return &Error{File: r.file, Line: pos.Line, Col: pos.Col, Msg: "a tab in the indentation", Hint: "YAML wants spaces"}
	}
	text := r.src.line(line)
	e := &Error{File: r.file, Line: line, Col: 1 + len(text) - len(strings.TrimLeft(text, " ")), Msg: "not YAML: " + problem}
	switch {
	case strings.Contains(text, "${") && strings.ContainsAny(text, "{[") && !strings.Contains(text, `"${`):
		e.Hint = `quote references between { } or [ ]: "${NAME}"`
	case timestampInFlow.MatchString(text):
		e.Col = 1 + utf8.RuneCountInString(text[:timestampInFlow.FindStringIndex(text)[0]+1])
		e.Hint = `quote the type between { }: {type: "timestamp[ms]"}`
	case strings.HasPrefix(problem, "mapping values are not allowed"):
		if i := strings.LastIndex(text, ": "); i >= 0 {
			e.Col = 1 + utf8.RuneCountInString(text[:i])
		}
		e.Hint = "quote a value that has \": \" in it, and check the indentation"
	case strings.Contains(problem, "cannot start any token"):
		if i := strings.IndexAny(text, "@`%"); i >= 0 {
			e.Col = 1 + utf8.RuneCountInString(text[:i])
		}
		e.Hint = "quote a value that begins with @, ` or %"
	case strings.HasPrefix(problem, "did not find expected key"):
		e.Hint = "check indentation and quotes, and quote a value as a whole when it begins with a quote: '\"ok\" == status'"
	case strings.Contains(problem, "',' or '}'"), strings.Contains(problem, "',' or ']'"):
		e.Hint = "a { or [ from here on is not closed, or a comma is missing"
	case strings.Contains(problem, "unexpected end of stream"):
		e.Hint = "a quote from here on is not closed"
	case strings.Contains(problem, "could not find expected ':'"):
		e.Hint = "a key needs a colon and a space behind it"
	case strings.Contains(problem, "unknown anchor"):
		e = r.placeOfAlias(e, problem)
	}
	return e
}

// firstWith is the line that brings a problem about. For a wrong indentation the parser gives the line where the mapping around it
// begins, which may be far above; the text up to the wrong line has the problem, and the text before it has not.
func (r *reader) firstWith(problem string) int {
	lines := r.src.lines
	n := sort.Search(len(lines)-1, func(i int) bool {
		var doc yaml.Node
		err := decodeNode(yaml.NewDecoder(bytes.NewReader(hideQuestionMarks([]byte(strings.Join(lines[:i+1], "\n")+"\n")))), &doc)
		return err != nil && strings.HasSuffix(err.Error(), problem)
	})
	return n + 1
}

// openQuote is the line from which a quoted text goes on to the line of an error, where a quote ends it, or 0.
func (r *reader) openQuote(from, to int) int {
	open := 0
	for n := from; n < to; n++ {
		if strings.Count(r.src.line(n), `"`)%2 == 0 {
			continue
		}
		if open == 0 {
			open = n
		} else {
			open = 0
		}
	}
	if !strings.Contains(r.src.line(to), `"`) {
		return 0
	}
	return open
}

// tabIndent finds a tab before the first character of a line, at or next to the line of an error.
func (r *reader) tabIndent(line int) (Pos, bool) {
	for n := max(1, line-1); n <= line+1; n++ {
		text := r.src.line(n)
		rest := strings.TrimLeft(text, " ")
		if strings.HasPrefix(rest, "\t") && strings.TrimSpace(rest) != "" {
			return Pos{n, 1 + len(text) - len(rest)}, true
		}
	}
	return Pos{}, false
}

// placeOfAlias finds an alias without an anchor, whose line the parser does not tell.
func (r *reader) placeOfAlias(e *Error, problem string) *Error {
	_, name, _ := strings.Cut(problem, "'")
	name, _, _ = strings.Cut(name, "'")
	e.Msg = fmt.Sprintf("the alias *%s repeats a value marked &%s, and there is none before it", name, name)
	for i, text := range r.src.lines {
		if j := strings.Index(text, "*"+name); j >= 0 {
			e.Line, e.Col = i+1, 1+utf8.RuneCountInString(text[:j])
			e.Hint = "quote a value that begins with *"
			break
		}
	}
	return e
}
