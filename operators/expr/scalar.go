package expr

import (
	"fmt"
	"slices"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// MaxCalls is how many different calls of functions of the user's the expressions of one step may have.
const MaxCalls = 32

// Scalars are functions of the user's: they are called in expressions like those of the language, and what runs them is
// not known here.
type Scalars struct {
	Names []string
	// Plan proves a call with arguments of these types, which are named a0, a1, ..., and says what the function gives.
	Plan func(name string, args *batch.Schema) (batch.Field, error)
}

// Scope is what the expressions of one step share: the columns before the step, and the calls of [Scalars] in them.
//
// A call is lifted out of its expression. Before the expressions are evaluated, the calls are made, in order: each adds a
// column behind those of the step's input, which the expressions, and the arguments of later calls, read in its place.
// So a call is made for every row, also where its value is not asked for, as behind && or ?:. Calls of one text are made
// once.
//
// All expressions are compiled twice: with Find, in order, and then with Compile, when the number of calls is known.
type Scope struct {
	scalars  Scalars
	in       *batch.Schema
	calls    []*Call
	places   map[place]int  // which call stands where
	texts    map[string]int // which call has this exact text
	assigned map[string]bool
	found    bool // no call is new any more
}

// place is where a call stands: its expression, and the character its name begins with.
type place struct {
	src  string
	from int
}

// Call is a call of one of the Scalars.
type Call struct {
	Name string
	Text string      // for people
	Args []*Program  // over the columns of the step's input and those of the calls before
	Out  batch.Field // what it gives, under a name for people
}

// NewScope is the scope of a step with this input.
func NewScope(in *batch.Schema, scalars Scalars) *Scope {
	return &Scope{scalars: scalars, in: in, places: map[place]int{}, texts: map[string]int{}, assigned: map[string]bool{}}
}

// In is the input of the step.
func (s *Scope) In() *batch.Schema { return s.in }

// Calls lists the calls in the order they are to be made.
func (s *Scope) Calls() []*Call { return s.calls }

// Schema is the step's input with the columns of the first n calls behind it.
func (s *Scope) Schema(n int) *batch.Schema {
	out := &batch.Schema{Fields: slices.Clone(s.in.Fields)}
	for _, c := range s.calls[:n] {
		out.Fields = append(out.Fields, c.Out)
	}
	return out
}

// Find finds the calls of an expression that reads the columns of in, and gives the field of its value. assigns is the
// column it is assigned to, which later calls of the step cannot read; empty for none.
func (s *Scope) Find(src string, in *batch.Schema, assigns string) (batch.Field, error) {
	p, err := compile(src, in, s)
	if err != nil {
		return batch.Field{}, err
	}
	if assigns != "" {
		s.assigned[assigns] = true
	}
	return batch.Field{Name: assigns, Type: p.Type(), Nullable: p.Nullable()}, nil
}

// Compile compiles an expression that was given to Find. in begins with Schema(len(Calls())).
func (s *Scope) Compile(src string, in *batch.Schema) (*Program, error) {
	s.found = true
	return compile(src, in, s)
}

// CompileFilter is Compile for an expression that must be a bool.
func (s *Scope) CompileFilter(src string, in *batch.Schema) (*Program, error) {
	return filter(s.Compile(src, in))
}

// CheckScalarName tells why a function of the user's cannot have a name.
func CheckScalarName(name string) error {
	if f := functionNamed(name); f != nil {
		return fmt.Errorf("%s is a function of the language: %s", name, f.Signature)
	}
	if _, taken := listFunctions[name]; taken {
		return fmt.Errorf("%s is a word of the language", name)
	}
	for _, args := range []string{"(x)", "(x, y)", "(x, y, z)"} {
		tree, err := parse(name + args)
		if err != nil {
			return fmt.Errorf("%s is a word of the language", name)
		}
		switch n := tree.(type) {
		case *ast.CallNode:
			if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == name {
				continue
			}
		case *ast.BuiltinNode:
			if n.Name == name {
				continue
			}
		}
		return fmt.Errorf("%s is a word of the language", name)
	}
	return nil
}

func (s *Scope) has(name string) bool { return s != nil && slices.Contains(s.scalars.Names, name) }

// assignedHere refuses a column in an argument that the step itself makes: calls are made before it.
func (c *checker) assignedHere(at ast.Node, name string) bool {
	if c.args == 0 || c.scope.found || !c.scope.assigned[name] {
		return false
	}
	c.fail(at, "call the function in a step after this one", "%s is assigned in this step, and functions are called before it", clip(name, 64))
	return true
}

// scalar is a call of a function of the user's: the column that will hold its values.
func (c *checker) scalar(at ast.Node, name string, where []ast.Node) node {
	s := c.scope
	here := place{c.src, position(at)}
	if i, known := s.places[here]; known && s.found {
		return c.called(i)
	}
	if len(where) == 0 {
		return c.fail(at, "give it a column", "%s has no arguments", clip(name, 64))
	}
	// Arguments are evaluated before the step, over its input and the calls before.
	in, used := c.in, c.used
	c.args++
	call, fields := &Call{Name: name, Text: at.String()}, &batch.Schema{}
	for i, a := range where {
		c.in, c.used = s.in, make([]bool, len(s.in.Fields))
		x := c.check(a)
		if c.err != nil {
			return nil
		}
		switch t := x.info().t; {
		case reprOf(t) == reprNone:
			return c.fail(a, "give it one, for example float(nil)", "nil has no type here")
		case t.Kind == duration:
			return c.fail(a, `add it to a timestamp: ts + duration("5s")`, "%s does not take a duration", clip(name, 64))
		}
		call.Args = append(call.Args, c.program(x))
		fields.Fields = append(fields.Fields, batch.Field{Name: fmt.Sprintf("a%d", i), Type: x.info().t, Nullable: x.info().null})
	}
	c.in, c.used = in, used
	c.args--
	exact := exactText(at)
	if i, known := s.texts[exact]; known {
		s.places[here] = i
		return c.called(i)
	}
	if len(s.calls) == MaxCalls {
		return c.fail(at, "use several steps", "the step has more than %d calls of such functions", MaxCalls)
	}
	out, err := s.scalars.Plan(name, fields)
	if err != nil {
		return c.fail(at, "", "%s: %v", clip(name, 64), err)
	}
	call.Out = batch.Field{Name: clip(call.Text, 200), Type: out.Type, Nullable: out.Nullable}
	i := len(s.calls)
	s.calls, s.places[here], s.texts[exact] = append(s.calls, call), i, i
	return c.called(i)
}

// exactText is a node's text, and which of its numbers are floats: it prints 1.0 like 1.
func exactText(n ast.Node) string {
	var kinds numberKinds
	ast.Walk(&n, &kinds)
	return n.String() + "\x00" + string(kinds)
}

type numberKinds []byte

// Visit implements ast.Visitor.
func (k *numberKinds) Visit(n *ast.Node) {
	switch (*n).(type) {
	case *ast.FloatNode:
		*k = append(*k, 'f')
	case *ast.IntegerNode:
		*k = append(*k, 'i')
	}
}

// called is the column of a call.
func (c *checker) called(i int) node {
	at, f := len(c.scope.in.Fields)+i, c.scope.calls[i].Out
	for len(c.used) <= at {
		c.used = append(c.used, false)
	}
	c.used[at] = true
	return &colNode{shape: shape{t: f.Type, null: f.Nullable}, index: at}
}
