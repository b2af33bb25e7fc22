package expr

import (
	"fmt"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// checker turns a parse tree into nodes. The first error sticks; after it check returns nil and nothing else is looked
// at.
type checker struct {
	src   string
	in    *batch.Schema
	used  []bool // by column of in
	scope *Scope // nil where there are no functions of the user's
	args  int    // calls of such functions around what is checked
	err   *Error
	nodes int
	depth int
}

var (
	intType   = batch.Type{Kind: batch.Int64}
	uintType  = batch.Type{Kind: batch.Uint64}
	floatType = batch.Type{Kind: batch.Float64}
	textType  = batch.Type{Kind: batch.String}
)

func (c *checker) fail(at ast.Node, hint, format string, args ...any) node {
	if c.err == nil {
		c.err = &Error{Offset: byteOffset(c.src, position(at)), Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	return nil
}

// position is where a node is, in characters. The parser gives if-else none.
func position(n ast.Node) int {
	for {
		cond, ok := n.(*ast.ConditionalNode)
		if !ok || cond.Location().To != 0 {
			return n.Location().From
		}
		n = cond.Cond
	}
}

// snippet is a node's text for the messages of rows that fail.
func snippet(n ast.Node) string { return clip(n.String(), 80) }

// checkAny is the node of an expression, or a list column.
func (c *checker) checkAny(n ast.Node) node {
	if c.err != nil {
		return nil
	}
	c.depth++
	defer func() { c.depth-- }()
	if c.nodes++; c.nodes > MaxNodes {
		return c.fail(n, "split it over several steps", "the expression has more than %d parts", MaxNodes)
	}
	if c.depth > MaxDepth {
		return c.fail(n, "split it over several steps", "the expression is nested more than %d deep", MaxDepth)
	}
	switch n := n.(type) {
	case *ast.NilNode:
		return newNull(batch.Type{})
	case *ast.IntegerNode:
		return newInt(int64(n.Value))
	case *ast.FloatNode:
		return newFloat(n.Value)
	case *ast.BoolNode:
		return newBool(n.Value)
	case *ast.StringNode:
		if !utf8.ValidString(n.Value) {
			return c.fail(n, `write b"…" for binary`, "the string is not UTF-8 text")
		}
		return newText(batch.String, []byte(n.Value))
	case *ast.BytesNode:
		return newText(batch.Binary, n.Value)
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			return c.call(n, id.Value, n.Arguments)
		}
		return c.fail(n, "write f(x) for x.f()", "methods are not supported")
	case *ast.BuiltinNode:
		return c.call(n, n.Name, n.Arguments)
	case *ast.ChainNode:
		return c.fail(n, "a missing value is null; use ?? for another", "?. is not supported")
	case *ast.SliceNode:
		return c.fail(n, "use substr(s, from, count)", "[from:to] is not supported")
	case *ast.ArrayNode:
		return c.fail(n, "a list stands to the right of in: x in [1, 2]", "a list is not supported here")
	case *ast.MapNode:
		return c.fail(n, "", "a map {…} is not supported")
	case *ast.VariableDeclaratorNode:
		return c.fail(n, "give it a name in a map step before this one", "let is not supported")
	case *ast.SequenceNode:
		return c.fail(n, "write one expression", "; is not supported")
	case *ast.PredicateNode, *ast.PointerNode:
		return c.fail(n, "", "functions over lists with a condition are not supported")
	default:
		return c.fail(n, "", "%T is not supported", n)
	}
}

func (c *checker) identifier(n *ast.IdentifierNode) node {
	if c.assignedHere(n, n.Value) {
		return nil
	}
	i := c.in.Index(n.Value)
	if i >= 0 {
		return c.column(i)
	}
	switch n.Value {
	case "null", "NULL":
		return newNull(batch.Type{})
	case "$env":
		return c.fail(n, `write $env["a column"]`, "$env stands for the row")
	}
	if functionNamed(n.Value) != nil {
		return c.fail(n, "call it: "+functionNamed(n.Value).Signature, "%s is a function, not a column", n.Value)
	}
	if c.scope.has(n.Value) {
		return c.fail(n, "call it: "+n.Value+"(…)", "%s is a function, not a column", n.Value)
	}
	return c.unknownColumn(n, n.Value)
}

func (c *checker) column(i int) node {
	c.used[i] = true
	f := c.in.Fields[i]
	return &colNode{shape: shape{t: f.Type, null: f.Nullable}, index: i}
}

func (c *checker) unknownColumn(n ast.Node, name string) node {
	return c.fail(n, Suggest(name, c.in.Names()), "unknown column %q", clip(name, 64))
}

// member is a column whose name has dots, or with $env["name"] any name.
func (c *checker) member(n *ast.MemberNode) node {
	if _, ok := n.Property.(*ast.StringNode); !ok {
		return c.indexed(n)
	}
	name, base := "", ast.Node(n)
	for {
		m, ok := base.(*ast.MemberNode)
		if !ok {
			break
		}
		p, ok := m.Property.(*ast.StringNode)
		if !ok {
			return c.fail(m, "columns have no fields", "fields of x[…] are not supported")
		}
		if m.Optional {
			return c.fail(m, "a missing value is null; use ?? for another", "?. is not supported")
		}
		if len(name)+len(p.Value) > MaxLength {
			return c.fail(m, "", "the name is too long")
		}
		if name != "" {
			name = "." + name
		}
		name, base = p.Value+name, m.Node
	}
	id, ok := base.(*ast.IdentifierNode)
	if !ok {
		return c.fail(n, "columns have one value per row", "fields of a value are not supported")
	}
	if id.Value != "$env" {
		name = id.Value + "." + name
	}
	if c.assignedHere(n, name) {
		return nil
	}
	if i := c.in.Index(name); i >= 0 {
		return c.column(i)
	}
	if i := c.in.Index(id.Value); i >= 0 && id.Value != "$env" {
		return c.fail(n, "", "%s has no fields: it is %s", id.Value, c.in.Fields[i].Type)
	}
	return c.unknownColumn(n, name)
}

// fold computes a node whose operands are all constants.
func (c *checker) fold(at ast.Node, x node, operands ...node) node {
	for _, o := range operands {
		if _, ok := o.(*constNode); !ok {
			return x
		}
	}
	e := &Evaluator{n: 1}
	e.active.ones(1)
	v := x.eval(e, 0)
	t := x.info().t
	switch {
	case len(e.fails) > 0:
		return c.fail(at, "", "this fails on every row: %s", e.fails[0].Text)
	case !v.ok(0):
		return newNull(t)
	case t.Kind == batch.Bool:
		return newBool(v.bits.get(0))
	case len(v.data) > MaxLength && t.Variable():
		return c.fail(at, "", "this makes a constant of %d bytes, the limit is %d", len(v.data), MaxLength)
	case t.Variable():
		return newText(t.Kind, append([]byte(nil), v.bytes(0)...))
	case t.Kind == batch.Decimal:
		return newDecimal(v.dec[0], t)
	default:
		return &constNode{shape: shape{t: t}, v: vec{num: []uint64{v.num[0]}, scalar: true}}
	}
}

// wide is the type in which values of a type are computed.
func wide(t batch.Type) batch.Type {
	switch {
	case t.Kind == batch.Uint64:
		return t
	case t.Integer():
		return intType
	case t.Float():
		return floatType
	default:
		return t
	}
}

// common is the type in which two values meet, if there is one.
func common(l, r node) (batch.Type, bool) {
	a, b := wide(l.info().t), wide(r.info().t)
	switch {
	case a.Kind == batch.Invalid:
		return b, b.Kind != batch.Invalid
	case b.Kind == batch.Invalid, a == b:
		return a, true
	case a.Kind == batch.Decimal || b.Kind == batch.Decimal:
		return commonDecimal(l, r)
	case a.Numeric() && b.Numeric():
		switch {
		case a.Float() || b.Float():
			return floatType, true
		case neverNegative(l) && neverNegative(r):
			return uintType, true
		default:
			return intType, true
		}
	case a.Kind == batch.Timestamp && b.Kind == batch.Timestamp:
		if a.Unit < b.Unit {
			return b, true
		}
		return a, true
	default:
		return batch.Type{}, false
	}
}

func neverNegative(n node) bool {
	if c := asConst(n); c != nil && c.t.Kind == batch.Int64 {
		return c.int() >= 0
	}
	return n.info().t.Unsigned()
}

// convert gives a node a type that common found for it.
func (c *checker) convert(at ast.Node, x node, to batch.Type) node {
	if c.err != nil {
		return nil
	}
	from := x.info().t
	if k, ok := x.(*constNode); ok && k.isNull {
		return newNull(to)
	}
	if from == to {
		return x
	}
	s := shape{t: to, null: x.info().null}
	switch {
	case to.Kind == batch.Decimal:
		return c.toDecimal(at, x, to)
	case to.Float() && from.Integer():
		return c.fold(at, &toFloat{shape: s, x: x, unsigned: from.Kind == batch.Uint64}, x)
	case to.Kind == batch.Int64 && from.Kind == batch.Uint64:
		return c.fold(at, &toInt{shape: s, x: x, text: snippet(at) + " does not fit int64"}, x)
	case to.Kind == batch.Timestamp && from.Kind == batch.Timestamp:
		by, _ := timeScale(from, to)
		return c.fold(at, &rescale{shape: s, x: x, mul: by, div: 1, text: snippet(at) + " does not fit " + to.String()}, x)
	default:
		return x // narrow numbers are held as wide ones already
	}
}

func (c *checker) unary(n *ast.UnaryNode) node {
	x := c.check(n.Node)
	if c.err != nil {
		return nil
	}
	t := x.info().t
	switch n.Operator {
	case "not", "!":
		if t != boolType {
			return c.fail(n, "compare it first, for example x != 0", "%s needs a bool, not %s", n.Operator, c.typeName(x))
		}
		return c.fold(n, &notNode{shape: x.info(), x: x}, x)
	case "+", "-":
		if !t.Numeric() && t.Kind != batch.Decimal {
			return c.fail(n, "", "%s needs a number, not %s", n.Operator, c.typeName(x))
		}
		if n.Operator == "+" {
			return x
		}
		return c.negate(n, x, false)
	default:
		return c.fail(n, "", "the operator %s is not supported", n.Operator)
	}
}

// negate is -x or |x|.
func (c *checker) negate(at ast.Node, x node, abs bool) node {
	s := shape{t: wide(x.info().t), null: x.info().null}
	if s.t.Kind == batch.Decimal {
		return c.fold(at, &decimalSign{shape: s, abs: abs, x: x}, x)
	}
	if s.t.Float() {
		f, name := func(v float64) float64 { return -v }, "-"
		if abs {
			f, name = absFloat, "abs"
		}
		return c.fold(at, &mapFloat{shape: s, f: f, x: x, name: name}, x)
	}
	x = c.convert(at, x, intType)
	if c.err != nil {
		return nil
	}
	s.t = intType
	return c.fold(at, &negInt{shape: s, abs: abs, x: x, text: "integer overflow in " + snippet(at)}, x)
}

// typeName is a node's type for messages.
func (c *checker) typeName(x node) string {
	switch t := x.info().t; t.Kind {
	case batch.Invalid:
		return "nil"
	case duration:
		return "a duration"
	default:
		return t.String()
	}
}

func (c *checker) conditional(n *ast.ConditionalNode) node {
	cond, yes, no := c.check(n.Cond), c.check(n.Exp1), c.check(n.Exp2)
	if c.err != nil {
		return nil
	}
	if cond.info().t != boolType {
		return c.fail(n.Cond, "compare it first, for example x != 0", "a condition must be a bool, not %s", c.typeName(cond))
	}
	t, ok := common(yes, no)
	if !ok {
		return c.fail(n.Exp2, "both branches need one type", "the branches are %s and %s", c.typeName(yes), c.typeName(no))
	}
	yes, no = c.convert(n.Exp1, yes, t), c.convert(n.Exp2, no, t)
	if c.err != nil {
		return nil
	}
	if k := asConst(cond); k != nil {
		if k.truth {
			return relabel(yes, t)
		}
		return relabel(no, t)
	}
	return &condNode{shape: shape{t: t, null: yes.info().null || no.info().null}, cond: cond, yes: yes, no: no}
}

func (c *checker) coalesce(at ast.Node, args []node, where []ast.Node) node {
	// Nulls are left out first, then a typed null stands for what the arguments so far have in common.
	meet := args[0]
	for i, a := range args[1:] {
		if isNullLiteral(meet) && isNullLiteral(a) {
			continue
		}
		t, ok := common(meet, a)
		if !ok {
			return c.fail(where[i+1], "all need one type", "%s does not go with %s", c.typeName(a), c.typeName(meet))
		}
		meet = newNull(t)
	}
	t := wide(meet.info().t)
	var out node
	for i := len(args) - 1; i >= 0; i-- {
		a := c.convert(where[i], args[i], t)
		if c.err != nil {
			return nil
		}
		if k, ok := a.(*constNode); ok && k.isNull && out != nil {
			continue
		}
		if out == nil || !a.info().null {
			out = a
			continue
		}
		out = &coalesceNode{shape: shape{t: t, null: a.info().null && out.info().null}, l: a, r: out}
	}
	return relabel(out, t)
}

// relabel gives a narrow number, which is held as a wide one, the wide type's name.
func relabel(x node, t batch.Type) node {
	if x.info().t == t {
		return x
	}
	return &labelNode{shape: shape{t: t, null: x.info().null}, x: x}
}
