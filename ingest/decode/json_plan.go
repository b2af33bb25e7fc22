package decode

import (
	"fmt"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// add puts a column into the tree. Two columns may share a path, but none may be below another: no record could fill
// both.
func (n *node) add(sc *schema.Column, c *column) error {
	if len(sc.Path) > maxDepth {
		return fmt.Errorf("column %q: its path has %d keys; records are at most %d deep", sc.Name, len(sc.Path), maxDepth)
	}
	for i, key := range sc.Path {
		if n.leaf != nil {
			return belowScalar(sc.Name, n.leaf.col.Name, n.path)
		}
		child := n.children[key]
		if child == nil {
			child = &node{key: key, path: strings.Join(sc.Path[:i+1], ".")}
			if i < len(sc.Path)-1 {
				child.children = map[string]*node{}
			}
			n.children[key] = child
			n.order = append(n.order, child)
		}
		n = child
	}
	if n.children != nil {
		return belowScalar(n.anyColumn(), sc.Name, n.path)
	}
	l := &leaf{col: c, op: opOf(c.Type), path: n.path, epoch: sc.Epoch, also: n.leaf, minute: newMinuteCache()}
	if c.items != nil {
		l.items = &leaf{col: c.items, op: opOf(c.items.Type), path: n.path + "[]", epoch: sc.Epoch, minute: newMinuteCache()}
	}
	n.leaf = l
	return nil
}

func belowScalar(inner, outer, path string) error {
	return fmt.Errorf("column %q is below %q, which is the value of column %q: a value is an object or one of a column, not both", inner, path, outer)
}

// anyColumn names a column below the node.
func (n *node) anyColumn() string {
	for n.leaf == nil {
		n = n.order[0]
	}
	return n.leaf.col.Name
}

// number gives the leaves at and below a node consecutive numbers.
func (j *jsonFormat) number(n *node) {
	n.from = len(j.leafs)
	for l := n.leaf; l != nil; l = l.also {
		l.index = len(j.leafs)
		j.leafs = append(j.leafs, l)
	}
	for _, c := range n.order {
		j.number(c)
	}
	n.to = len(j.leafs)
}

func opOf(t batch.Type) op {
	switch {
	case t.Kind == batch.Bool:
		return opBool
	case t.Kind == batch.Float32:
		return opFloat32
	case t.Kind == batch.Float64:
		return opFloat64
	case t.Kind == batch.String:
		return opString
	case t.Kind == batch.Binary:
		return opBinary
	case t.Kind == batch.Date32:
		return opDate
	case t.Kind == batch.Timestamp:
		return opTimestamp
	case t.Kind == batch.List:
		return opList
	case t.Kind == batch.Decimal:
		return opDecimal
	case t.Unsigned():
		return opUint
	default:
		return opInt
	}
}
