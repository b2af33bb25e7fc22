package expr

import (
	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// check is [checker.checkAny] for what must be a single value: most of the language does not take a list.
func (c *checker) check(n ast.Node) node {
	x := c.checkAny(n)
	if c.err == nil && x.info().t.Kind == batch.List {
		return c.failList(n, x)
	}
	return x
}

func (c *checker) failList(n ast.Node, x node) node {
	name := clip(n.String(), 64)
	return c.fail(n, "take one item, "+name+"[0], or len("+name+"), or make rows of the items with an operator",
		"%s is a list, %s", name, x.info().t)
}

// listArg is a list column. Lists are only columns: no expression makes one.
func listArg(x node) (list, bool) {
	col, ok := x.(*colNode)
	if !ok || col.t.Kind != batch.List {
		return list{}, false
	}
	return list{index: col.index, t: col.t.Items()}, true
}

// takesList tells whether a function has a form for lists.
func takesList(name string) bool {
	switch name {
	case "len", "sum", "avg", "min", "max", "isNull":
		return true
	}
	return false
}

// indexed is x[i].
func (c *checker) indexed(n *ast.MemberNode) node {
	if n.Optional {
		return c.fail(n, "x[i] is null where there is no such item", "?. is not supported")
	}
	x := c.checkAny(n.Node)
	if c.err != nil {
		return nil
	}
	l, ok := listArg(x)
	if !ok {
		return c.fail(n, "only lists have items", "x[…] needs a list, not %s", c.typeName(x))
	}
	at := c.check(n.Property)
	if c.err != nil {
		return nil
	}
	if !at.info().t.Integer() {
		return c.fail(n.Property, "", "the index must be an integer, not %s", c.typeName(at))
	}
	if at = c.convert(n.Property, at, intType); c.err != nil {
		return nil
	}
	return &listAt{shape: shape{t: l.t, null: true}, list: l, at: at}
}

// isMember tells whether an expression may be a column with dots in its name.
func isMember(n ast.Node) bool {
	_, ok := n.(*ast.MemberNode)
	return ok
}

// inList is x in xs.
func (c *checker) inList(n *ast.BinaryNode, x node, l list, nullable bool) node {
	t, item := wide(x.info().t), wide(l.t)
	fits := t == item
	switch {
	case item.Kind == batch.Decimal:
		before, behind, ok := digits(x)
		if !ok {
			break
		}
		if x = c.convert(n.Left, x, batch.DecimalOf(max(before+behind, 1), behind)); c.err != nil {
			return nil
		}
		return &listHasDecimal{shape: shape{t: boolType, null: nullable || x.info().null}, list: l, x: x}
	case item.Float():
		fits, item = t.Numeric(), floatType
	case item == intType:
		fits = t.Integer()
	case item == uintType:
		fits = neverNegative(x)
	}
	if !fits {
		return c.fail(n.Left, "", "the list has %s, but the value is %s", l.t, c.typeName(x))
	}
	if item != uintType {
		x = c.convert(n.Left, x, item)
	}
	if c.err != nil {
		return nil
	}
	return &listHas{shape: shape{t: boolType, null: nullable || x.info().null}, list: l, x: x}
}

// checkFold is sum, avg, min or max of one list.
func checkFold(c *checker, k call) node {
	l, ok := listArg(k.args[0])
	if !ok {
		return c.fail(k.at, otherNames[k.name], "%s needs a list here, not %s", k.name, c.typeName(k.args[0]))
	}
	f := map[string]fold{"sum": foldSum, "avg": foldAvg, "min": foldMin, "max": foldMax}[k.name]
	times := f >= foldMin && (l.t.Kind == batch.Timestamp || l.t.Kind == batch.Date32)
	decimals := l.t.Kind == batch.Decimal
	if !l.t.Numeric() && !times && !decimals {
		return c.fail(k.where[0], "", "%s needs a list of numbers, not %s", k.name, c.typeName(k.args[0]))
	}
	s := shape{t: l.t, null: k.args[0].info().null || f != foldSum}
	switch f {
	case foldSum:
		if s.t = wide(l.t); decimals {
			s.t.Precision = batch.MaxPrecision
		}
	case foldAvg:
		s.t = floatType
	}
	if decimals {
		return &listFoldDecimal{shape: s, list: l, fold: f, text: "decimal overflow in " + snippet(k.at)}
	}
	return &listFold{shape: s, list: l, fold: f, text: "integer overflow in " + snippet(k.at)}
}
