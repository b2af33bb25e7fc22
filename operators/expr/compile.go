package expr

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/weir-stream/weir/ingest/batch"
)

// Bounds of one expression. They keep a hostile pipeline from taking the node's memory or stack; people stay far below.
const (
	MaxLength = 16 << 10 // bytes of source
	MaxNodes  = 4000     // operators, names and literals
	MaxDepth  = 250      // nesting, chains such as a || b || c included
)

// Program is a checked expression, bound to the positions of a schema's columns. It is immutable and safe for
// concurrent use; an [Evaluator] runs it.
type Program struct {
	src     string
	root    node
	columns []int
}

// Source is the text the program was compiled from.
func (p *Program) Source() string { return p.src }

// Type is the type of the result.
func (p *Program) Type() batch.Type { return p.root.info().t }

// Nullable tells whether the result may be null.
func (p *Program) Nullable() bool { return p.root.info().null }

// IsColumn tells whether the program is a column as it is: then evaluating it copies nothing.
func (p *Program) IsColumn() bool {
	_, ok := p.root.(*colNode)
	return ok
}

// Columns are the positions of the input columns that are read, ascending. The slice must not be changed.
func (p *Program) Columns() []int { return p.columns }

// Compile parses and checks an expression against the schema of the batches it will be evaluated on. An error is always
// an [*Error].
func Compile(src string, in *batch.Schema) (*Program, error) {
	return compile(src, in, nil)
}

func compile(src string, in *batch.Schema, scope *Scope) (*Program, error) {
	c := &checker{src: src, in: in, used: make([]bool, len(in.Fields)), scope: scope}
	root := c.compile()
	if c.err != nil {
		return nil, c.err
	}
	return c.program(root), nil
}

// program is what was checked, with the columns it uses.
func (c *checker) program(root node) *Program {
	p := &Program{src: c.src, root: root}
	for i, used := range c.used {
		if used {
			p.columns = append(p.columns, i)
		}
	}
	return p
}

// CompileFilter is Compile for an expression that must be a bool.
func CompileFilter(src string, in *batch.Schema) (*Program, error) {
	return filter(Compile(src, in))
}

// filter wants a program to be a bool.
func filter(p *Program, err error) (*Program, error) {
	if err != nil {
		return nil, err
	}
	if p.Type() != boolType {
		return nil, &Error{
			Msg:  fmt.Sprintf("a filter must be true or false, this is %s", p.Type()),
			Hint: "compare it with something, for example x > 0",
		}
	}
	return p, nil
}

// CompileCast is a program that changes the type of one column. With nullable set a value that has no counterpart
// becomes null; otherwise the row fails, with ReasonOutOfRange or ReasonWrongType.
func CompileCast(column int, to batch.Type, nullable bool, in *batch.Schema) (*Program, error) {
	f := in.Fields[column]
	x := &colNode{shape: shape{t: f.Type, null: f.Nullable}, index: column}
	p := &Program{src: f.Name, root: x, columns: []int{column}}
	if f.Type == to {
		return p, nil
	}
	if !castable(f.Type, to) {
		return nil, &Error{
			Msg:  fmt.Sprintf("cannot cast %s from %s to %s", f.Name, f.Type, to),
			Hint: castHint(f.Type, to),
		}
	}
	cast := newCast(x, to, nullable, "column "+clip(f.Name, 64))
	cast.step = true
	p.root = cast
	return p, nil
}

func castHint(from, to batch.Type) string {
	switch {
	case from.Kind == batch.List || to.Kind == batch.List:
		return "a list stays what it is; an operator can make another one"
	case to.Kind == batch.Bool && from.Numeric():
		return "write the condition in a map step, for example x != 0"
	case from.Float() && (to.Kind == batch.Timestamp || to.Kind == batch.Date32):
		return "cast it to int64 first: the number is then taken in the timestamp's unit"
	default:
		return "there is no such conversion; string goes to and from everything"
	}
}

func (c *checker) compile() node {
	switch {
	case strings.TrimSpace(c.src) == "":
		c.err = &Error{Msg: "the expression is empty"}
		return nil
	case len(c.src) > MaxLength:
		c.err = &Error{Msg: fmt.Sprintf("the expression is %d bytes long, the limit is %d", len(c.src), MaxLength)}
		return nil
	case !utf8.ValidString(c.src):
		c.err = &Error{Msg: "the expression is not UTF-8 text"}
		return nil
	}
	tree, err := parse(c.src)
	if err != nil {
		c.err = c.syntaxError(err)
		return nil
	}
	root := c.checkAny(tree) // a list column can be renamed by a map
	if c.err == nil && reprOf(root.info().t) == reprNone {
		c.fail(tree, "give it one, for example int(nil) or string(nil)", "nil has no type here")
	}
	if c.err == nil && root.info().t.Kind == duration {
		c.fail(tree, "add it to a timestamp: ts + duration(\"5s\")", "a duration is no column value")
	}
	return root
}

// parse runs the parser of expr-lang. What it is given comes from a user's file, so that a panic in it is an error too.
func parse(src string) (tree ast.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the parser gave up: %v", r)
		}
	}()
	t, err := parser.Parse(src)
	if err != nil {
		return nil, err
	}
	if t.Node == nil {
		return nil, errors.New("the expression is empty")
	}
	return t.Node, nil
}

// syntaxError puts a parser's error in weir's words and adds what people coming from SQL most likely meant.
func (c *checker) syntaxError(err error) *Error {
	var fe *file.Error
	if !errors.As(err, &fe) {
		return &Error{Msg: clip(err.Error(), 200)}
	}
	e := &Error{Offset: byteOffset(c.src, fe.From), Msg: clip(fe.Message, 200)}
	rest := c.src[e.Offset:]
	word := strings.ToUpper(rest[:wordLen(rest)])
	switch {
	case strings.Contains(e.Msg, "unexpected token EOF"), strings.Contains(e.Msg, "unexpected end of expression"):
		e.Offset, e.Msg = len(c.src), "the expression ends too early"
	case strings.HasPrefix(rest, "="):
		e.Msg, e.Hint = "= is no operator", "use == to compare"
	case strings.HasPrefix(rest, ">") && e.Offset > 0 && c.src[e.Offset-1] == '<':
		e.Offset, e.Msg, e.Hint = e.Offset-1, "<> is no operator", "use !="
	case strings.Contains(e.Msg, "coalesce expressions"):
		e.Msg, e.Hint = "?? next to another operator", "put one of them in parentheses: (a ?? b) + c"
	case strings.Contains(e.Msg, "maximum allowed nodes"):
		e.Offset, e.Msg, e.Hint = 0, fmt.Sprintf("the expression has more than %d parts", MaxNodes), "split it over several steps"
	case strings.HasPrefix(rest, "&"):
		e.Hint = "use && or and"
	case word == "AND", word == "OR", word == "NOT", word == "IN":
		e.Msg, e.Hint = "unexpected "+rest[:len(word)], "operators are lower case: "+strings.ToLower(word)
	case word == "IS":
		e.Msg, e.Hint = "unexpected "+rest[:len(word)], "use == nil or != nil"
	case word == "LIKE", word == "ILIKE", word == "RLIKE":
		e.Msg, e.Hint = "unexpected "+rest[:len(word)], "use contains, startsWith, endsWith or matches"
	case word == "BETWEEN":
		e.Msg, e.Hint = "unexpected "+rest[:len(word)], "use x >= a && x <= b"
	default:
		e.Msg = strings.NewReplacer(`Operator("`, `"`, `Identifier("`, `"`, `Bracket("`, `"`, `Number("`, `"`, `String("`, `"`,
			`")`, `"`).Replace(e.Msg)
	}
	return e
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && (s[n] >= 'a' && s[n] <= 'z' || s[n] >= 'A' && s[n] <= 'Z') {
		n++
	}
	return n
}
