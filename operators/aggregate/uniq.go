package aggregate

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math/bits"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// newUniqExact counts different values by keeping them all: numbers and times as 64 bits, texts as their hash in 128 bits. The
// states are those of ClickHouse's uniqExact.
func newUniqExact(s Spec) *Aggregate {
	if hashed(s.Args[0].Type) {
		a := valueAggregate[exactTexts](s, "uniqExact", batch.Type{Kind: batch.String}, batch.Type{Kind: batch.Uint64}, 0)
		a.Nullable = false
		return a
	}
	return wordAggregate[exactWords](s, "uniqExact", batch.Type{Kind: batch.Uint64})
}

// newUniq estimates how many values are different, after Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog" (2007): 4096
// registers, an error of 1.6 % (one standard deviation), at most 2,651 bytes. The states are those of ClickHouse's uniqHLL12,
// of the value's 64 bits or of a text.
func newUniq(s Spec) *Aggregate {
	of := batch.Type{Kind: batch.Uint64}
	if hashed(s.Args[0].Type) {
		of = batch.Type{Kind: batch.String}
	}
	return wordAggregate[hll](s, "uniqHLL12", of)
}

// hashed tells whether the different values of a type are told by a hash of their bytes.
func hashed(t batch.Type) bool { return t.Variable() || wideDecimal(t) }

type exactWords struct{ set map[uint64]struct{} }

// Bytes of memory that an entry of a set takes, about.
const wordEntry, textEntry = 20, 40

func (x *exactWords) seen() bool  { return len(x.set) > 0 }
func (x *exactWords) size() int64 { return wordEntry * int64(len(x.set)) }

func (x *exactWords) add(word uint64) int64 {
	if x.set == nil {
		x.set = map[uint64]struct{}{}
	}
	before := len(x.set)
	x.set[word] = struct{}{}
	return wordEntry * int64(len(x.set)-before)
}

func (x *exactWords) merge(from *exactWords, _ cells, _ int) { maps.Copy(x.set, from.set) }

// append writes: varint n, the values as uint64. They are in order, so that a set is the same bytes whoever writes it: rows are
// known by their hashes.
func (x *exactWords) append(dst []byte, _ cells) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(x.set)))
	for _, v := range slices.Sorted(maps.Keys(x.set)) {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return dst
}

func (x *exactWords) load(src []byte, _ cells) error {
	r := reader{src: src}
	n := r.count(8)
	x.set = make(map[uint64]struct{}, n)
	for range n {
		x.set[r.uint64()] = struct{}{}
	}
	return r.end()
}

type exactTexts struct{ set map[[2]uint64]struct{} }

func (x *exactTexts) seen() bool  { return len(x.set) > 0 }
func (x *exactTexts) size() int64 { return textEntry * int64(len(x.set)) }

func (x *exactTexts) add(v []byte, _ cells, _ int) int64 {
	if x.set == nil {
		x.set = map[[2]uint64]struct{}{}
	}
	before := len(x.set)
	x.set[sipHash128(v)] = struct{}{}
	return textEntry * int64(len(x.set)-before)
}

func (x *exactTexts) merge(from *exactTexts, _ cells, _ int) { maps.Copy(x.set, from.set) }

// append writes: varint n, the hashes in 16 bytes, in order.
func (x *exactTexts) append(dst []byte, _ cells) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(x.set)))
	order := func(a, b [2]uint64) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }
	for _, h := range slices.SortedFunc(maps.Keys(x.set), order) {
		dst = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, h[0]), h[1])
	}
	return dst
}

func (x *exactTexts) load(src []byte, _ cells) error {
	r := reader{src: src}
	n := r.count(16)
	x.set = make(map[[2]uint64]struct{}, n)
	for range n {
		x.set[[2]uint64{r.uint64(), r.uint64()}] = struct{}{}
	}
	return r.end()
}

// hll is a set of up to 16 keys, and then a sketch of 4096 registers. A key is a number, or the CityHash64 (version 1.0.2) of a
// text.
type hll struct {
	small []uint64
	ranks []byte // by register, or nil; see hllRank
}

const (
	hllSmall     = 16
	hllBits      = 12
	hllRegisters = 1 << hllBits
	hllMaxRank   = 21 // of the 20 bits that are left of a hash, and one
	hllRankBits  = 5
)

var hllLayout = registers{hllRegisters, hllRankBits, hllMaxRank}

func (h *hll) seen() bool  { return len(h.small) > 0 || h.ranks != nil }
func (h *hll) size() int64 { return 8*int64(cap(h.small)) + int64(cap(h.ranks)) }

func (h *hll) add(key uint64) int64 {
	if h.ranks != nil {
		h.register(key)
		return 0
	}
	for _, have := range h.small {
		if have == key {
			return 0
		}
	}
	before := h.size()
	if len(h.small) < hllSmall {
		h.small = append(h.small, key)
		return h.size() - before
	}
	h.grow()
	h.register(key)
	return h.size() - before
}

// grow makes a sketch of the set.
func (h *hll) grow() {
	h.ranks = make([]byte, hllRegisters)
	for _, have := range h.small {
		h.register(have)
	}
	h.small = nil
}

func (h *hll) merge(from *hll, _ cells, _ int) {
	if from.ranks == nil {
		for _, key := range from.small {
			h.add(key)
		}
		return
	}
	if h.ranks == nil {
		h.grow()
	}
	for i, rank := range from.ranks {
		h.ranks[i] = max(h.ranks[i], rank)
	}
}

// register counts a key: its hash's low bits are the register, and the zeroes that follow, and one, the rank.
func (h *hll) register(key uint64) {
	hash := intHash32(key)
	rank := byte(min(bits.TrailingZeros32(hash>>hllBits)+1, hllMaxRank))
	if r := &h.ranks[hash%hllRegisters]; rank > *r {
		*r = rank
	}
}

// intHash32 is ClickHouse's hash of a number in 32 bits, after Thomas Wang.
func intHash32(key uint64) uint32 {
	key = ^key + key<<18
	key ^= bits.RotateLeft64(key, -31)
	key *= 21
	key ^= bits.RotateLeft64(key, -11)
	key += key << 6
	key ^= bits.RotateLeft64(key, -22)
	return uint32(key)
}

// append writes, of a small set: a byte 0, varint n, the keys; of registers: a byte 1, the ranks in 5 bits each, uint32 how many
// have each rank, uint16 how many have none.
func (h *hll) append(dst []byte, _ cells) []byte {
	if h.ranks == nil {
		dst = binary.AppendUvarint(append(dst, 0), uint64(len(h.small)))
		for _, key := range h.small {
			dst = binary.LittleEndian.AppendUint64(dst, key)
		}
		return dst
	}
	return hllLayout.append(append(dst, 1), h.ranks)
}

func (h *hll) load(src []byte, _ cells) error {
	r := reader{src: src}
	switch r.byte() {
	case 0:
		n := r.count(8)
		if n > hllSmall {
			return errState
		}
		for range n {
			h.small = append(h.small, r.uint64())
		}
	case 1:
		var err error
		if h.ranks, err = hllLayout.read(&r); err != nil {
			return err
		}
	default:
		return errState
	}
	return r.end()
}
