package aggregate

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// newSumMap adds up values by a key of its own, within the key of the window: integers in 64 bits with wrap-around, floats in the order of
// rows. It keeps all keys. The states are those of ClickHouse's sumMap over maps of one pair.
func newSumMap(s Spec) *Aggregate {
	key, value := s.Args[0].Type, s.Args[1].Type
	if !(key.Integer() || key.Variable() || key.Kind == batch.Bool) {
		return nil // ClickHouse's have no others
	}
	total, _ := sumOf(s.Args[1])
	if !value.Numeric() {
		return nil
	}
	a := ofState("sumMap", []batch.Field{{Type: key}, {Type: total}}, total, false, func() Accumulator {
		m := &mapSums{key: cellsOf(key), float: value.Float(), values: wordsOf(value), floats: floats{kind: value.Kind}}
		m.values.signed = !value.Unsigned()
		m.cells = m.key
		return m
	})
	a.Map = true
	return a
}

type mapSums struct {
	states[sumMap, *sumMap]
	key    cells
	float  bool
	values words
	floats floats
}

func (a *mapSums) Add(groups []uint32, args []*batch.Column) {
	key, value := args[0], args[1]
	if a.float {
		for i, v := range a.floats.read(value, len(groups)) {
			if g := groups[i]; g != Skip && key.Valid(i) && value.Valid(i) {
				m := &a.of[g]
				at, grown := m.at(a.key.at(key, i))
				m.sums[at] = math.Float64bits(math.Float64frombits(m.sums[at]) + v)
				a.extra += grown
			}
		}
		return
	}
	for i, v := range a.values.read(value, len(groups)) {
		if g := groups[i]; g != Skip && key.Valid(i) && value.Valid(i) {
			m := &a.of[g]
			at, grown := m.at(a.key.at(key, i))
			m.sums[at] += v
			a.extra += grown
		}
	}
}

func (a *mapSums) Take(from Accumulator, src, dst uint32) { a.move(&from.(*mapSums).states, src, dst) }

func (a *mapSums) Load(groups []uint32, in []batch.Column) error {
	return a.loadEach(groups, in, a.load)
}

func (a *mapSums) load(m *sumMap, src []byte) error { return m.load(src, a.key) }

func (a *mapSums) Merge(groups []uint32, in []batch.Column) error {
	return a.mergeEach(groups, in, a.load, func(to, from *sumMap) {
		for i, key := range from.keys {
			at, _ := to.at([]byte(key))
			if a.float {
				to.sums[at] = math.Float64bits(math.Float64frombits(to.sums[at]) + math.Float64frombits(from.sums[i]))
			} else {
				to.sums[at] += from.sums[i]
			}
		}
	})
}

// sumMap has the total of each key, as the bits of 64-bit integers or floats.
type sumMap struct {
	index map[string]int32
	keys  []string // as the bytes of a cell
	sums  []uint64
	text  int64 // bytes of the keys
}

// sumMapEntry is the bytes of memory that a key takes beside its text, about.
const sumMapEntry = 72

func (m *sumMap) seen() bool  { return len(m.keys) > 0 }
func (m *sumMap) size() int64 { return sumMapEntry*int64(len(m.keys)) + m.text }

// at is the place of a key, which may be new. It returns by how much memory grew.
func (m *sumMap) at(key []byte) (at int, grown int64) {
	if i, ok := m.index[string(key)]; ok {
		return int(i), 0
	}
	if m.index == nil {
		m.index = map[string]int32{}
	}
	at = len(m.keys)
	text := string(key)
	m.index[text] = int32(at)
	m.keys, m.sums = append(m.keys, text), append(m.sums, 0)
	m.text += int64(len(text))
	return at, sumMapEntry + int64(len(text))
}

// append writes: varint n; of each key in order of its bytes the key (of a text, varint length and bytes), and its total in 8 bytes.
func (m *sumMap) append(dst []byte, k cells) []byte {
	order := make([]int32, len(m.keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(m.keys[a], m.keys[b]) })
	dst = binary.AppendUvarint(dst, uint64(len(m.keys)))
	for _, i := range order {
		if k.width == 0 {
			dst = binary.AppendUvarint(dst, uint64(len(m.keys[i])))
		}
		dst = binary.LittleEndian.AppendUint64(append(dst, m.keys[i]...), m.sums[i])
	}
	return dst
}

func (m *sumMap) load(src []byte, k cells) error {
	r := reader{src: src}
	n := r.count(8 + max(k.width, -k.width, 1))
	if n == 0 {
		return errState
	}
	for i := range n {
		size := max(k.width, -k.width)
		if k.width == 0 {
			size = r.count(1)
		}
		key := r.take(size)
		if r.bad || k.width < 0 && key[0] > 1 {
			return errState
		}
		if at, _ := m.at(key); at != i { // it was there already
			return errState
		}
		m.sums[i] = r.uint64()
	}
	return r.end()
}
