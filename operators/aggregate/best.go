package aggregate

import "github.com/weir-stream/weir/ingest/batch"

// The value of the row in which something else is least or greatest. Of several such rows the first in the log counts. The
// states are those of ClickHouse's argMin and argMax: the value, then what it goes by, each as a cell.

func newArgMin(s Spec) *Aggregate { return newBest(s, "argMin", true) }

func newArgMax(s Spec) *Aggregate { return newBest(s, "argMax", false) }

// newFirst and newLast go by the event time.
func newFirst(s Spec) *Aggregate { return newBest(s, "argMin", true) }

func newLast(s Spec) *Aggregate { return newBest(s, "argMax", false) }

func newBest(s Spec, function string, least bool) *Aggregate {
	value, by := s.Args[0], s.Args[1]
	if !ordered(by.Type) {
		return nil
	}
	of := []batch.Field{{Type: value.Type}, {Type: by.Type}}
	return ofState(function, of, value.Type, anyNullable(s.Args), func() Accumulator {
		return &bests{value: cellsOf(value.Type), by: cellsOf(by.Type), byType: by.Type, order: orders{kind: by.Type.Kind}, least: least, last: s.Func == "last"}
	})
}

type bests struct {
	states[best, *best]
	value, by cells
	byType    batch.Type
	order     orders
	least     bool
	last      bool // of several rows the last in the log counts
}

type best struct {
	value, by cell
	order     uint64
}

func (b *best) seen() bool  { return b.by.kind != noCell }
func (b *best) size() int64 { return b.value.size() }

func (b *best) append(dst []byte, _ cells) []byte { return b.by.append(b.value.append(dst)) }

func (a *bests) Add(groups []uint32, args []*batch.Column) {
	value, by := args[0], args[1]
	for i, order := range a.order.read(by, len(groups)) {
		g := groups[i]
		if g == Skip || order == noOrder && a.byType.Float() || !value.Valid(i) || !by.Valid(i) {
			continue
		}
		b := &a.of[g]
		switch {
		case !b.seen():
		case a.least && order < b.order, !a.least && order > b.order:
		case a.last && order == b.order:
		default:
			continue
		}
		b.order = order
		b.by.set(a.by, a.by.at(by, i))
		a.extra += b.value.set(a.value, a.value.at(value, i))
	}
}

func (a *bests) Take(from Accumulator, src, dst uint32) {
	a.move(&from.(*bests).states, src, dst)
}

func (a *bests) Load(groups []uint32, in []batch.Column) error {
	return a.loadEach(groups, in, a.load)
}

func (a *bests) Merge(groups []uint32, in []batch.Column) error {
	return a.mergeEach(groups, in, a.load, func(to, from *best) {
		if from.order < to.order && a.least || from.order > to.order && !a.least || from.order == to.order && a.last {
			*to = *from
		}
	})
}

func (a *bests) load(b *best, src []byte) error {
	r := reader{src: src}
	b.value.load(a.value, &r)
	b.by.load(a.by, &r)
	if err := r.end(); err != nil {
		return err
	}
	// A column of one value, in memory that is aligned for it.
	word := make([]uint64, 2)
	copy(batch.Bytes(word), b.by.fixed[:b.by.width])
	if a.byType.Kind == batch.Decimal {
		copy(batch.Bytes(word), batch.DecimalBytes([]batch.Int128{decimalCell(b.by.fixed[:b.by.width])}))
	}
	b.order = a.order.read(&batch.Column{Values: batch.Bytes(word)}, 1)[0]
	return nil
}
