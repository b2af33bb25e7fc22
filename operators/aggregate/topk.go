package aggregate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

const maxTopK = 1000

func checkTopK(s Spec) error { return checkWhole(s.Params[0], 1, maxTopK, "the number of values") }

// newTopK estimates which values are most frequent, after Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent
// and Top-k Elements in Data Streams" (2005): three times as many counters as are asked for; a value without one takes over
// the least. The states are those of ClickHouse's topK.
func newTopK(s Spec) *Aggregate {
	k := int(s.Params[0])
	t := s.Args[0].Type
	if t.Kind == batch.Bool {
		return nil
	}
	return valueAggregate[topK](s, fmt.Sprintf("topK(%d)", k), t, batch.ListOf(t), topKSpare*k)
}

const topKSpare = 3

// topK has its counters in order, the most frequent first, so that the least is at the end.
type topK struct {
	index    map[string]int // of counters
	counters []counter
	text     int64 // bytes of the values
	alpha    int   // see append
}

type counter struct {
	value        string
	count, error uint64
}

func (t *topK) seen() bool  { return len(t.counters) > 0 }
func (t *topK) size() int64 { return 80*int64(len(t.counters)) + t.text }

func (t *topK) add(v []byte, _ cells, limit int) int64 {
	if i, ok := t.index[string(v)]; ok {
		t.counters[t.rise(i)].count++
		return 0
	}
	before := t.size()
	if t.index == nil {
		t.index = map[string]int{}
	}
	t.alpha = 1 << bits.Len(uint(6*limit-1))
	c := counter{value: string(v), count: 1}
	t.text += int64(len(v))
	if len(t.counters) < limit {
		t.index[c.value] = len(t.counters)
		t.counters = append(t.counters, c)
		return t.size() - before
	}
	least := t.counters[limit-1]
	delete(t.index, least.value)
	t.text -= int64(len(least.value))
	c.count, c.error = least.count+1, least.count
	i := t.rise(limit - 1)
	t.counters[i], t.index[c.value] = c, i
	return t.size() - before
}

// rise moves counter i to the front of those that are equal, where it may grow by one and all are still in order.
func (t *topK) rise(i int) int {
	n := t.counters[i].count
	front := sort.Search(i, func(j int) bool { return t.counters[j].count <= n })
	if front < i {
		t.counters[front], t.counters[i] = t.counters[i], t.counters[front]
		t.index[t.counters[i].value] = i
		if _, kept := t.index[t.counters[front].value]; kept {
			t.index[t.counters[front].value] = front
		}
	}
	return front
}

// merge adds up counters. A value that only one of the two counts may have been as frequent in the other as the least of its counters,
// if all of them are in use: that is added to the count, and to its error. It is what ClickHouse does.
func (t *topK) merge(from *topK, _ cells, limit int) {
	least := func(of *topK) uint64 {
		if len(of.counters) < limit {
			return 0
		}
		return of.counters[len(of.counters)-1].count
	}
	here, there := least(t), least(from)
	for i := range t.counters {
		t.counters[i].count += there
		t.counters[i].error += there
	}
	for _, c := range from.counters {
		if i, ok := t.index[c.value]; ok {
			t.counters[i].count += c.count - there
			t.counters[i].error += c.error - there
		} else {
			c.count, c.error = c.count+here, c.error+here
			t.counters = append(t.counters, c)
		}
	}
	slices.SortFunc(t.counters, func(a, b counter) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.error, b.error), strings.Compare(a.value, b.value))
	})
	t.counters = t.counters[:min(len(t.counters), limit)]
	t.text, t.index = 0, make(map[string]int, len(t.counters))
	for i, c := range t.counters {
		t.index[c.value] = i
		t.text += int64(len(c.value))
	}
	t.alpha = max(t.alpha, from.alpha)
}

// append writes: varint n; of each counter the value (where it is sized, varint length and bytes), varint count, varint error; varint A
// and A times varint 0, counts of values that have no counter, which are not kept here. A is the power of two that ClickHouse
// has for as many counters.
func (t *topK) append(dst []byte, k cells) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(t.counters)))
	for _, c := range t.counters {
		if k.sized() {
			dst = binary.AppendUvarint(dst, uint64(len(c.value)))
		}
		dst = append(dst, c.value...)
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, c.count), c.error)
	}
	dst = binary.AppendUvarint(dst, uint64(t.alpha))
	return append(dst, make([]byte, t.alpha)...)
}

func (t *topK) load(src []byte, k cells) error {
	r := reader{src: src}
	n := r.count(max(k.width, 1))
	if n > topKSpare*maxTopK {
		return errState
	}
	t.index = make(map[string]int, n)
	for i := range n {
		size := k.width
		if k.sized() {
			size = r.count(1)
		}
		c := counter{value: string(r.take(size)), count: r.uvarint(), error: r.uvarint()}
		if _, twice := t.index[c.value]; twice || i > 0 && c.count > t.counters[i-1].count {
			return errState
		}
		t.index[c.value] = i
		t.counters = append(t.counters, c)
		t.text += int64(len(c.value))
	}
	t.alpha = r.count(1)
	for range t.alpha {
		if r.byte() != 0 {
			return errState
		}
	}
	return r.end()
}
