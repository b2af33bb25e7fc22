package decode

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// maxDepth is how deep objects and arrays of a record may be nested. The bits of one word hold it.
const maxDepth = 64

// jsonFormat decodes one JSON object per record. It walks the text once, guided by the tree of the columns' paths.
type jsonFormat struct {
	w     *writer
	limit int // items of a list
	root  node
	leafs []*leaf
	// set has the bit of every leaf that the current record has a value for; all is the same for all leaves.
	set, all []uint64
	seq      int64  // number of the current record, to tell whether a leaf's null is of this one
	scratch  []byte // unescaped strings that are not text columns
}

// node is an object key on the path to a column: either an object with further keys or a leaf.
type node struct {
	key      string
	path     string // dotted, for messages
	children map[string]*node
	order    []*node // the children, in the order of the columns
	hints    []hint  // keys of the last records, in their order
	from, to int     // the leaves at and below the node
	leaf     *leaf   // nil for an object
}

// leaf is a column at the end of its path.
type leaf struct {
	col   *column
	op    op
	index int
	path  string
	also  *leaf // another column of the same path

	items *leaf // of a list

	epoch  batch.Unit
	minute minuteCache
	// nullIn is the record that last had a null here, and nullAt where.
	nullIn int64
	nullAt int
}

// op is how a value becomes one of the column's.
type op uint8

const (
	opBool op = iota
	opInt
	opUint
	opFloat32
	opFloat64
	opString
	opBinary
	opDate
	opTimestamp
	opList
	opDecimal
)

func newJSON(cols schema.Columns, w *writer, maxItems int) (*jsonFormat, error) {
	j := &jsonFormat{w: w, limit: maxItems, root: node{children: map[string]*node{}}}
	for i := range cols {
		if cols[i].From == schema.FromValue {
			if err := j.root.add(&cols[i], &w.cols[i]); err != nil {
				return nil, err
			}
		}
	}
	j.number(&j.root)
	j.set = make([]uint64, (len(j.leafs)+63)/64)
	j.all = make([]uint64, len(j.set))
	for i := range j.leafs {
		j.all[i/64] |= 1 << (i % 64)
	}
	for _, l := range j.leafs {
		if l.items != nil {
			l.items.index = l.index // to be marked as set is right: only a list that is whole ends the record well
		}
	}
	return j, nil
}

func (j *jsonFormat) copies() int {
	most := 1
	for _, l := range j.leafs {
		n := 0
		for ; l != nil; l = l.also {
			if l.col.Type.Variable() {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// record decodes one value.
func (j *jsonFormat) record(data []byte) outcome {
	j.seq++
	clear(j.set)
	p := skipSpace(data, 0)
	if p >= len(data) || data[p] != '{' {
		return j.notObject(data, p)
	}
	p = j.object(&j.root, data, p, 1)
	if p < 0 {
		return outcomeOf(p)
	}
	if p < len(data) {
		if p = skipSpace(data, p); p < len(data) {
			return outcomeOf(j.malformed(data, p, "the end of the record"))
		}
	}
	for i, set := range j.set {
		if set != j.all[i] {
			return j.missing()
		}
	}
	return written
}

// missing makes the columns null that the record had no value for, or rejects the record.
func (j *jsonFormat) missing() outcome {
	for i, l := range j.leafs {
		if j.set[i>>6]&(1<<(i&63)) != 0 {
			continue
		}
		if !l.col.Nullable {
			if l.nullIn == j.seq {
				return j.w.refuse(batch.ReasonMissing, l.col, "null at byte %d; declare it as %s? to allow that", l.nullAt, l.col.Type)
			}
			return j.w.refuse(batch.ReasonMissing, l.col, "the record has no %s", snippet([]byte(l.path)))
		}
		j.w.null(l.col)
	}
	return written
}

// object reads the object that starts at p and returns the index after it, or a failure.
//
// Keys are first compared with those that earlier records had at the same place, as written and with all that is
// between the values: comma, quotes, colon, white space. A match of these bytes needs no further look at them.
func (j *jsonFormat) object(n *node, data []byte, p, depth int) int {
	next := 0
	for {
		var child *node
		if p < len(data) && data[p] == '}' && next > 0 {
			return p + 1
		}
		if next < len(n.hints) && n.hints[next].matchShort(data, p) {
			h := &n.hints[next]
			p += int(h.n)
			child = h.child
			next++
		} else if i := n.predict(data, p, next); i >= 0 {
			h := &n.hints[i]
			p += int(h.n)
			child, next = h.child, i+1
		} else {
			from := p
			p, child = j.key(n, data, p, next == 0)
			if p < 0 {
				return p
			}
			if child == endOfObject {
				return p
			}
			n.learn(next, data[from:p], child)
			next++
		}
		switch {
		case child == nil:
			p = j.skip(data, p, depth)
		case child.leaf != nil:
			l, at := child.leaf, p
			p = j.value(l, data, p)
			for l = l.also; l != nil && p >= 0; l = l.also {
				p = j.value(l, data, at)
			}
		default:
			p = j.inner(child, data, p, depth)
		}
		if p < 0 {
			return p
		}
	}
}

// inner reads the value at p, which must be an object or null, of a key that columns are below.
func (j *jsonFormat) inner(n *node, data []byte, p, depth int) int {
	j.unset(n.from, n.to) // the last of duplicate keys counts
	switch data[p] {
	case '{':
		return j.object(n, data, p, depth+1) // no path is longer than maxDepth
	case 'n':
		for _, l := range j.leafs[n.from:n.to] {
			l.nullIn, l.nullAt = j.seq, p
		}
		return j.literal(data, p, "null")
	default:
		return j.wrongObject(n, data, p)
	}
}

// unset forgets values of leaves.
func (j *jsonFormat) unset(from, to int) {
	for i := from; i < to; i++ {
		j.set[i>>6] &^= 1 << (i & 63)
	}
}

// endOfObject is what key returns where there is no further key.
var endOfObject = new(node)

// key reads what is between two values of an object: a comma or the brace before the first key, the key, a colon. It
// returns the index of the value and the key's node, nil for a key that no column needs.
func (j *jsonFormat) key(n *node, data []byte, p int, first bool) (int, *node) {
	p = skipSpace(data, p)
	switch {
	case first:
		p = skipSpace(data, p+1) // the brace was seen by the caller
		if p < len(data) && data[p] == '}' {
			return p + 1, endOfObject
		}
	case p >= len(data):
		return j.malformed(data, p, "a comma or the end of an object"), nil
	case data[p] == '}':
		return p + 1, endOfObject
	case data[p] != ',':
		return j.malformed(data, p, "a comma or the end of an object"), nil
	default:
		p = skipSpace(data, p+1)
	}
	if p >= len(data) || data[p] != '"' {
		return j.malformed(data, p, "a key in quotes"), nil
	}
	start := p + 1
	end, escaped := j.scanString(data, start)
	if end < 0 {
		return end, nil
	}
	name := data[start:end]
	if escaped {
		if name = j.unescape(data, start); name == nil {
			return failed, nil
		}
	}
	child := n.children[string(name)]
	p = skipSpace(data, end+1)
	if p >= len(data) || data[p] != ':' {
		return j.malformed(data, p, "a colon"), nil
	}
	p = skipSpace(data, p+1)
	if p >= len(data) {
		return j.malformed(data, p, "a value"), nil
	}
	return p, child
}

// lookAhead is how many of the expected keys are tried: records without some optional keys still match.
const lookAhead = 3

// maxHints and maxHint bound the keys that are remembered per object, and the bytes of each.
const (
	maxHints = 256
	maxHint  = 128
)

// hint is a key as an earlier record had it, from the end of the value before to the begin of its own. The first key
// of an object includes the brace; as only hint 0 can be such a key, none of them matches in another place.
type hint struct {
	a, b  uint64 // the first and the last 8 bytes, or 4 where it is shorter than 8
	n     int32
	raw   []byte
	child *node
}

// predict is the index of the hint that matches at p, of those from next on, or negative.
func (n *node) predict(data []byte, p, next int) int {
	for i := next; i < len(n.hints) && i < next+lookAhead; i++ {
		if n.hints[i].match(data, p) {
			return i
		}
	}
	return -1
}

// matchShort is match for hints of 8 to 16 bytes, as most are. It is small enough to be inlined.
func (h *hint) matchShort(data []byte, p int) bool {
	n := int(h.n)
	return uint(n-8) <= 8 && p+n < len(data) && binary.LittleEndian.Uint64(data[p:]) == h.a &&
		binary.LittleEndian.Uint64(data[p+n-8:]) == h.b && data[p+n] > ' '
}

// match tells whether data has the hint at p and a value's first byte after it.
func (h *hint) match(data []byte, p int) bool {
	n := int(h.n)
	if p+n >= len(data) {
		return false
	}
	d := data[p : p+n+1]
	if d[n] <= ' ' {
		return false
	}
	switch {
	case n >= 8:
		if binary.LittleEndian.Uint64(d) != h.a || binary.LittleEndian.Uint64(d[n-8:]) != h.b {
			return false
		}
		return n <= 16 || string(d[8:n-8]) == string(h.raw[8:n-8])
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(d)) == h.a && uint64(binary.LittleEndian.Uint32(d[n-4:])) == h.b
	default:
		return false
	}
}

// learn remembers what led to a value as the i-th of its object.
func (n *node) learn(i int, raw []byte, child *node) {
	if len(raw) > maxHint || i >= maxHints {
		return
	}
	for len(n.hints) <= i {
		n.hints = append(n.hints, hint{})
	}
	h := &n.hints[i]
	h.raw = append(h.raw[:0], raw...)
	h.n, h.child = int32(len(raw)), child
	switch {
	case len(raw) >= 8:
		h.a, h.b = binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[len(raw)-8:])
	default: // no key takes less than four bytes: ,"":
		h.a, h.b = uint64(binary.LittleEndian.Uint32(raw)), uint64(binary.LittleEndian.Uint32(raw[len(raw)-4:]))
	}
}
