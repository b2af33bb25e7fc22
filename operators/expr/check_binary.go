package expr

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

func (c *checker) binary(n *ast.BinaryNode) node {
	switch n.Operator {
	case "in":
		return c.membership(n)
	case "..":
		return c.fail(n, "use x >= 1 && x <= 10", ".. is not supported")
	case "^":
		return c.fail(n, "use ** for a power", "^ is not supported")
	}
	l, r := c.checkAny(n.Left), c.checkAny(n.Right)
	if c.err != nil {
		return nil
	}
	// A list can be compared with nil, and there is nothing else to do with it here.
	for i, x := range [...]node{l, r} {
		if other := [...]node{r, l}[i]; x.info().t.Kind == batch.List && !(isNullLiteral(other) && (n.Operator == "==" || n.Operator == "!=")) {
			return c.failList([...]ast.Node{n.Left, n.Right}[i], x)
		}
	}
	switch n.Operator {
	case "&&", "and", "||", "or":
		return c.logical(n, l, r)
	case "==", "!=", "<", "<=", ">", ">=":
		return c.comparison(n, cmpOps[n.Operator], l, r)
	case "+", "-", "*", "/", "%", "**":
		return c.arithmetic(n, l, r)
	case "contains", "startsWith", "endsWith", "matches":
		return c.textTest(n, l, r)
	case "??":
		return c.coalesce(n, []node{l, r}, []ast.Node{n.Left, n.Right})
	default:
		return c.fail(n, "", "the operator %s is not supported", n.Operator)
	}
}

func (c *checker) logical(n *ast.BinaryNode, l, r node) node {
	for i, x := range []node{l, r} {
		if isNullLiteral(x) {
			x = newNull(boolType)
			if i == 0 {
				l = x
			} else {
				r = x
			}
		}
		if x.info().t != boolType {
			return c.fail([]ast.Node{n.Left, n.Right}[i], "compare it first, for example x != 0",
				"%s needs bools, not %s", n.Operator, c.typeName(x))
		}
	}
	s := shape{t: boolType, null: l.info().null || r.info().null}
	if n.Operator == "&&" || n.Operator == "and" {
		return c.fold(n, &andNode{shape: s, l: l, r: r}, l, r)
	}
	return c.fold(n, &orNode{shape: s, l: l, r: r}, l, r)
}

func (c *checker) comparison(n *ast.BinaryNode, op cmpOp, l, r node) node {
	if isNullLiteral(l) || isNullLiteral(r) {
		if op != opEQ && op != opNE {
			return c.fail(n, "use == nil or != nil", "%s with nil is always null", n.Operator)
		}
		x := l
		if isNullLiteral(l) {
			x = r
		}
		if isNullLiteral(x) {
			return newBool(op == opEQ)
		}
		return c.fold(n, &isNullNode{shape: shape{t: boolType}, x: x, not: op == opNE}, x)
	}
	if isDecimal(l) || isDecimal(r) {
		return c.cmpDecimal(n, op, l, r)
	}
	s := shape{t: boolType, null: l.info().null || r.info().null}
	t, ok := common(l, r)
	if !ok {
		return c.fail(n, c.mixHint(n, l, r), "cannot compare %s with %s", c.typeName(l), c.typeName(r))
	}
	// A constant goes to the right, where the fast kernels expect it.
	ln, rn := n.Left, n.Right
	if _, ok := l.(*constNode); ok {
		l, r, ln, rn, op = r, l, rn, ln, op.mirror()
	}
	lu, ru := l.info().t.Kind == batch.Uint64, r.info().t.Kind == batch.Uint64
	if t == intType && lu != ru {
		if ru {
			l, r, op = r, l, op.mirror()
		}
		return c.fold(n, &cmpMixed{shape: s, op: op, l: l, r: r}, l, r)
	}
	l, r = c.convert(ln, l, t), c.convert(rn, r, t)
	if c.err != nil {
		return nil
	}
	var x node
	switch reprOf(t) {
	case reprBits:
		if op != opEQ && op != opNE {
			return c.fail(n, "use == or !=", "%s does not order bools", n.Operator)
		}
		x = &cmpBool{shape: s, op: op, l: l, r: r}
	case reprText:
		x = &cmpText{shape: s, op: op, l: l, r: r}
	default:
		x = &cmpNum{shape: s, op: op, l: l, r: r, rep: reprOf(t)}
	}
	return c.fold(n, x, l, r)
}

// mixHint says how two types that do not go together could.
func (c *checker) mixHint(n *ast.BinaryNode, l, r node) string {
	a, b := l.info().t, r.info().t
	if b.Kind == batch.Timestamp || b.Kind == batch.Date32 || b.Numeric() && a.Kind == batch.String {
		a, b, l, r = b, a, r, l
	}
	switch {
	case a.Kind == batch.Decimal || b.Kind == batch.Decimal:
		return decimalMix(l, r)
	case a.Kind == batch.Timestamp && b.Kind == batch.String:
		return `make it a timestamp: timestamp("2024-01-31T00:00:00Z")`
	case a.Kind == batch.Timestamp && b.Kind == batch.Date32:
		return "take the timestamp's day: date(ts)"
	case a.Kind == batch.Timestamp && b.Numeric():
		return "take the timestamp as a number: toUnix(ts)"
	case a.Kind == batch.Date32 && b.Kind == batch.String:
		return `make it a date: date("2024-01-31")`
	case a.Numeric() && b.Kind == batch.String && asConst(r) != nil:
		return "write the number without quotes"
	case a.Numeric() && b.Kind == batch.String:
		return "convert one side: float(x), int(x) or string(x)"
	case a.Variable() && b.Variable():
		return `write binary as b"…", or convert: string(x)`
	default:
		return ""
	}
}

func (c *checker) arithmetic(n *ast.BinaryNode, l, r node) node {
	a, b := l.info().t, r.info().t
	op := n.Operator
	s := shape{null: l.info().null || r.info().null}
	switch {
	case isNullLiteral(l) || isNullLiteral(r):
		return c.fail(n, "use ?? to give nulls a value", "%s with nil is always null", op)
	case a.Kind == batch.String && b.Kind == batch.String && op == "+":
		s.t = textType
		return c.fold(n, &concat{shape: s, parts: partsOf(l, r), text: snippet(n) + ": " + tooLongText}, l, r)
	case b.Kind == duration && a.Kind == batch.Timestamp && (op == "+" || op == "-"):
		return c.shiftTime(n, l, r, op)
	case a.Kind == duration && b.Kind == batch.Timestamp && op == "+":
		return c.shiftTime(n, r, l, op)
	case a.Kind == batch.Timestamp && b.Kind == batch.Timestamp && op == "-":
		return c.fail(n, "use toUnixMilli(a) - toUnixMilli(b)", "cannot subtract timestamps")
	case (a.Kind == batch.Timestamp || b.Kind == batch.Timestamp) && (op == "+" || op == "-"):
		return c.fail(n, `use a duration: ts + duration("5s")`, "cannot compute %s %s %s", c.typeName(l), op, c.typeName(r))
	case isDecimal(l) && (isDecimal(r) || b.Numeric()), isDecimal(r) && a.Numeric():
		return c.decimalArith(n, l, r)
	case !a.Numeric() || !b.Numeric():
		hint := ""
		if a.Kind == batch.String || b.Kind == batch.String {
			hint = "convert one side: string(x), float(x) or int(x)"
		}
		return c.fail(n, hint, "cannot compute %s %s %s", c.typeName(l), op, c.typeName(r))
	}
	if op == "%" && (a.Float() || b.Float()) {
		return c.fail(n, "convert with int(x) first", "%% needs integers, not %s and %s", a, b)
	}
	if op == "/" || op == "**" || a.Float() || b.Float() {
		s.t = floatType
		l, r = c.convert(n.Left, l, floatType), c.convert(n.Right, r, floatType)
		if c.err != nil {
			return nil
		}
		code := op[0]
		if op == "**" {
			code = '^'
		}
		return c.fold(n, &floatArith{shape: s, op: code, l: l, r: r}, l, r)
	}
	s.t = intType
	l, r = c.convert(n.Left, l, intType), c.convert(n.Right, r, intType)
	if c.err != nil {
		return nil
	}
	text := "integer overflow in " + snippet(n)
	if op == "%" {
		text = "division by zero in " + snippet(n)
		if k := asConst(r); k != nil && k.int() == 0 {
			return c.fail(n.Right, "", "this fails on every row: %s", text)
		}
	}
	return c.fold(n, &intArith{shape: s, op: op[0], l: l, r: r, text: text}, l, r)
}

// shiftTime is a timestamp plus or minus a constant duration.
func (c *checker) shiftTime(n *ast.BinaryNode, ts, dur node, op string) node {
	t := ts.info().t
	step := c.inUnit(n, dur, t)
	if c.err != nil {
		return nil
	}
	by := newInt(step)
	return c.fold(n, &intArith{
		shape: ts.info(), op: op[0], l: ts, r: by, text: "timestamp overflow in " + snippet(n),
	}, ts, by)
}

// inUnit is a constant duration as a whole number of a timestamp's unit.
func (c *checker) inUnit(at ast.Node, dur node, t batch.Type) int64 {
	k := asConst(dur)
	if k == nil || k.t.Kind != duration {
		c.fail(at, `write duration("5s")`, "this must be a duration, not %s", c.typeName(dur))
		return 0
	}
	per := nanosPerSec / t.Unit.PerSecond()
	if k.int()%per != 0 {
		c.fail(at, "", "the duration is no whole number of %s, the unit of the timestamp", t.Unit)
		return 0
	}
	return k.int() / per
}

func (c *checker) textTest(n *ast.BinaryNode, l, r node) node {
	for i, x := range []node{l, r} {
		if k := x.info().t.Kind; k != batch.String && (k != batch.Binary || n.Operator == "matches") {
			return c.fail([]ast.Node{n.Left, n.Right}[i], "", "%s needs strings, not %s", n.Operator, c.typeName(x))
		}
	}
	if l.info().t != r.info().t {
		return c.fail(n, c.mixHint(n, l, r), "%s needs two strings, not %s and %s", n.Operator, c.typeName(l), c.typeName(r))
	}
	s := shape{t: boolType, null: l.info().null || r.info().null}
	f := map[string]func(s, t []byte) bool{
		"contains": bytes.Contains, "startsWith": bytes.HasPrefix, "endsWith": bytes.HasSuffix,
	}[n.Operator]
	k := asConst(r)
	switch {
	case n.Operator == "matches" && k == nil:
		return c.fail(n.Right, "", "the pattern of matches must be a literal")
	case n.Operator == "matches":
		re, err := regexp.Compile(string(k.text()))
		if err != nil {
			return c.fail(n.Right, "see https://github.com/google/re2/wiki/Syntax", "%s",
				clip(strings.TrimPrefix(err.Error(), "error parsing regexp: "), 200))
		}
		return c.fold(n, &testText{shape: s, x: l, f: re.Match}, l)
	case k != nil:
		pattern := k.text()
		return c.fold(n, &testText{shape: s, x: l, f: func(s []byte) bool { return f(s, pattern) }}, l)
	default:
		return c.fold(n, &testTexts{shape: s, l: l, r: r, f: f}, l, r)
	}
}

// membership is x in [a, b, c].
func (c *checker) membership(n *ast.BinaryNode) node {
	x := c.check(n.Left)
	if c.err != nil {
		return nil
	}
	list, ok := n.Right.(*ast.ArrayNode)
	if _, column := n.Right.(*ast.IdentifierNode); column || !ok && isMember(n.Right) {
		right := c.checkAny(n.Right)
		if c.err != nil {
			return nil
		}
		if l, ok := listArg(right); ok {
			return c.inList(n, x, l, right.info().null)
		}
	}
	if !ok {
		return c.fail(n.Right, "use contains for a piece of a string", "in needs a list of literals, x in [1, 2], or a list column")
	}
	t := wide(x.info().t)
	if t.Kind == batch.Invalid || t.Kind == batch.Bool || t.Kind == duration || t.Kind == batch.Decimal {
		return c.fail(n.Left, "use == and ||", "in does not take %s", c.typeName(x))
	}
	values := make([]*constNode, 0, len(list.Nodes))
	for _, item := range list.Nodes {
		v := c.check(item)
		if c.err != nil {
			return nil
		}
		k := asConst(v)
		switch {
		case isNullLiteral(v):
			return c.fail(item, "add || x == nil", "a list may not have nil")
		case k == nil:
			return c.fail(item, "use == and ||", "a list may only have literals")
		}
		u, ok := common(x, k)
		if !ok {
			return c.fail(item, "", "the list has %s, but the value is %s", c.typeName(k), c.typeName(x))
		}
		if u.Float() || u.Kind == batch.Timestamp && u.Unit > t.Unit {
			t = u
		}
		values = append(values, k)
	}
	s := shape{t: boolType, null: x.info().null}
	x = c.convert(n.Left, x, t)
	if c.err != nil {
		return nil
	}
	var out node
	switch reprOf(t) {
	case reprText:
		texts := make([][]byte, len(values))
		for i, k := range values {
			texts[i] = k.text()
		}
		out = newInText(s, x, texts)
	case reprFloat:
		out = newInNum(s, x, listOf(values, func(k *constNode) (float64, bool) {
			f, ok := c.convert(n, k, floatType).(*constNode)
			return f.float(), ok
		}))
	case reprUint:
		out = newInNum(s, x, listOf(values, func(k *constNode) (uint64, bool) { return k.v.num[0], neverNegative(k) }))
	default:
		by := func(k *constNode) int64 {
			if t.Kind != batch.Timestamp {
				return 1
			}
			m, _ := timeScale(k.t, t)
			return m
		}
		out = newInNum(s, x, listOf(values, func(k *constNode) (int64, bool) {
			p, ok := mul(k.int(), by(k)) // a time that does not fit the unit equals none
			return p, ok && k.t.Kind != batch.Uint64
		}))
	}
	return c.fold(n, out, x)
}

// listOf takes the values that x could equal at all.
func listOf[T number](values []*constNode, value func(*constNode) (T, bool)) []T {
	out := make([]T, 0, len(values))
	for _, k := range values {
		if v, ok := value(k); ok {
			out = append(out, v)
		}
	}
	return out
}
