package aggregate

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// valueState is a state of values of any type, as bytes.
type valueState[S any] interface {
	state[S]
	// add takes a value in. It returns by how much the memory it has beside itself grew.
	add(v []byte, k cells, limit int) int64
}

// ofValue is the accumulator of such states.
type ofValue[S any, P valueState[S]] struct {
	states[S, P]
	limit int // for states that keep at most so many
}

func valueAggregate[S any, P valueState[S]](s Spec, function string, of, answer batch.Type, limit int) *Aggregate {
	return ofState(function, []batch.Field{{Type: of}}, answer, s.Args[0].Nullable && answer.Kind != batch.List, func() Accumulator {
		a := &ofValue[S, P]{limit: limit}
		a.cells = cellsOf(s.Args[0].Type)
		return a
	})
}

func (a *ofValue[S, P]) Add(groups []uint32, args []*batch.Column) {
	c := args[0]
	for i, g := range groups {
		if g != Skip && (c.Validity == nil || c.Valid(i)) {
			a.extra += P(&a.of[g]).add(a.cells.at(c, i), a.cells, a.limit)
		}
	}
}

func (a *ofValue[S, P]) Load(groups []uint32, in []batch.Column) error {
	return loadStates(&a.states, groups, in)
}

func (a *ofValue[S, P]) Merge(groups []uint32, in []batch.Column) error {
	return mergeStates(&a.states, groups, in, a.limit)
}

func (a *ofValue[S, P]) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*ofValue[S, P]).states, src, dst)
}

// newAny keeps the first value in the log: ClickHouse's any.
func newAny(s Spec) *Aggregate {
	return valueAggregate[anyValue](s, "any", s.Args[0].Type, s.Args[0].Type, 0)
}

type anyValue struct{ cell }

func (x *anyValue) seen() bool { return x.kind != noCell }

func (x *anyValue) add(v []byte, k cells, _ int) int64 {
	if x.kind != noCell {
		return 0
	}
	return x.set(k, v)
}

// merge keeps what was there before.
func (x *anyValue) merge(*anyValue, cells, int) {}

func (x *anyValue) append(dst []byte, _ cells) []byte { return x.cell.append(dst) }

func (x *anyValue) load(src []byte, k cells) error {
	r := reader{src: src}
	x.cell.load(k, &r)
	return r.end()
}

// The bits of integers: ClickHouse's groupBitAnd, groupBitOr and groupBitXor. Of a bool they are and, or.
func newBitAnd(s Spec) *Aggregate { return newBits[bitAnd](s, "groupBitAnd", false) }

func newBitOr(s Spec) *Aggregate { return newBits[bitOr](s, "groupBitOr", false) }

func newBitXor(s Spec) *Aggregate { return newBits[bitXor](s, "groupBitXor", false) }

func newBoolAnd(s Spec) *Aggregate { return newBits[bitAnd](s, "groupBitAnd", true) }

func newBoolOr(s Spec) *Aggregate { return newBits[bitOr](s, "groupBitOr", true) }

func newBits[S any, P valueState[S]](s Spec, function string, bool bool) *Aggregate {
	t := s.Args[0].Type
	if bool != (t.Kind == batch.Bool) || !bool && !t.Integer() {
		return nil
	}
	of := t
	if bool {
		of = batch.Type{Kind: batch.Uint8}
	}
	return valueAggregate[S, P](s, function, of, t, 0)
}

type bitState struct {
	v   uint64
	any bool
}

func (b *bitState) seen() bool  { return b.any }
func (b *bitState) size() int64 { return 0 }

func (b *bitState) append(dst []byte, k cells) []byte {
	return append(dst, batch.Bytes([]uint64{b.v})[:max(k.width, -k.width)]...)
}

func (b *bitState) load(src []byte, k cells) error {
	if len(src) != max(k.width, -k.width) {
		return errState
	}
	b.v, b.any = word(src), true
	return nil
}

// word is a number of up to 8 bytes.
func word(v []byte) uint64 {
	var w [8]byte
	copy(w[:], v)
	return binary.LittleEndian.Uint64(w[:])
}

type bitAnd struct{ bitState }

func (b *bitAnd) add(v []byte, _ cells, _ int) int64 {
	if w := word(v); b.any {
		b.v &= w
	} else {
		b.v, b.any = w, true
	}
	return 0
}

func (b *bitAnd) merge(from *bitAnd, _ cells, _ int) { b.v &= from.v }

type bitOr struct{ bitState }

func (b *bitOr) add(v []byte, _ cells, _ int) int64 {
	b.v, b.any = b.v|word(v), true
	return 0
}

func (b *bitOr) merge(from *bitOr, _ cells, _ int) { b.v |= from.v }

type bitXor struct{ bitState }

func (b *bitXor) add(v []byte, _ cells, _ int) int64 {
	b.v, b.any = b.v^word(v), true
	return 0
}

func (b *bitXor) merge(from *bitXor, _ cells, _ int) { b.v ^= from.v }

// maxGroupArray bounds what a group of group_array keeps.
const maxGroupArray = 10_000

func checkGroupArray(s Spec) error {
	return checkWhole(s.Params[0], 1, maxGroupArray, "the number of values")
}

// checkWhole wants a parameter to be a whole number.
func checkWhole(v float64, lo, hi int, what string) error {
	if v != float64(int(v)) || int(v) < lo || int(v) > hi {
		return fmt.Errorf("%s is %v, and must be a whole number from %d to %d", what, v, lo, hi)
	}
	return nil
}

// newGroupArray keeps the first n values in the order of the log: ClickHouse's groupArray(n).
func newGroupArray(s Spec) *Aggregate {
	n := int(s.Params[0])
	return valueAggregate[list](s, fmt.Sprintf("groupArray(%d)", n), s.Args[0].Type, batch.ListOf(s.Args[0].Type), n)
}

type list struct {
	data []byte // values as they are in the state
	n    int
}

func (l *list) seen() bool  { return l.n > 0 }
func (l *list) size() int64 { return int64(cap(l.data)) }

func (l *list) add(v []byte, k cells, limit int) int64 {
	if l.n == limit {
		return 0
	}
	l.n++
	before := cap(l.data)
	if k.sized() {
		l.data = binary.AppendUvarint(l.data, uint64(len(v)))
	}
	l.data = append(l.data, v...)
	return int64(cap(l.data) - before)
}

// merge appends the values of the other, as far as there is room.
func (l *list) merge(from *list, k cells, limit int) {
	r := reader{src: from.data}
	n := min(from.n, limit-l.n)
	for range n {
		if k.sized() {
			r.take(r.count(1))
		} else {
			r.take(max(k.width, -k.width))
		}
	}
	l.data = append(l.data, from.data[:len(from.data)-len(r.src)]...)
	l.n += n
}

// append writes: varint n, the values; of one that is sized, varint length and bytes.
func (l *list) append(dst []byte, _ cells) []byte {
	return append(binary.AppendUvarint(dst, uint64(l.n)), l.data...)
}

func (l *list) load(src []byte, k cells) error {
	r := reader{src: src}
	n := r.uvarint()
	if n > maxGroupArray {
		return errState
	}
	l.n, l.data = int(n), slices.Clone(r.src)
	for range n {
		if k.sized() {
			r.take(r.count(1))
		} else {
			r.take(max(k.width, -k.width))
		}
	}
	return r.end()
}
