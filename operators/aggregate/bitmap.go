package aggregate

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
)

// newGroupBitmap keeps the integers that were there as a Roaring bitmap, after Chambi, Lemire, Kaser and Godin, "Better bitmap performance with
// Roaring bitmaps" (2016): 65,536 neighbours are a list of 16 bits each, or from 4,097 of them on a bit each. The states are those of
// ClickHouse's groupBitmap of UInt64; negative ones are 2^64 more.
func newGroupBitmap(s Spec) *Aggregate {
	t := s.Args[0].Type
	if !t.Integer() {
		return nil
	}
	u64 := batch.Type{Kind: batch.Uint64}
	return ofState("groupBitmap", []batch.Field{{Type: u64}}, u64, false, func() Accumulator {
		a := &ofWord[bitmap, *bitmap]{words: wordsOf(t)}
		a.words.signed = !t.Unsigned()
		return a
	})
}

const (
	bitmapSmall  = 32   // numbers of a state without chunks
	chunkSparse  = 4096 // numbers of a chunk that is a list
	chunkWords   = 1 << 16 / 64
	chunkBytes   = 8 * chunkWords
	roaringPlain = 12346 // begins what has no chunks of runs
)

// bitmap has up to 32 numbers as they came, or chunks.
type bitmap struct {
	small  []uint64
	chunks []bitmapChunk
	index  map[uint64]int32 // of chunks, by what their numbers begin with
	last   int              // the chunk of the number before
	memory int64
}

// bitmapChunk is the numbers that are the same but for the low 16 bits.
type bitmapChunk struct {
	key    uint64
	list   []uint16 // ascending, or nil
	dense  *[chunkWords]uint64
	number int
}

// chunkEntry is the bytes of memory that a chunk takes beside its numbers, about.
const chunkEntry = 48 + 24

func (b *bitmap) seen() bool  { return len(b.small) > 0 || b.chunks != nil }
func (b *bitmap) size() int64 { return b.memory }

func (b *bitmap) add(v uint64) int64 {
	if b.chunks == nil {
		if slices.Contains(b.small, v) {
			return 0
		}
		before := b.memory
		if len(b.small) < bitmapSmall {
			b.small = append(b.small, v)
			b.memory = 8 * int64(cap(b.small))
			return b.memory - before
		}
		b.grow()
		b.insert(v)
		return b.memory - before
	}
	before := b.memory
	b.insert(v)
	return b.memory - before
}

// grow makes chunks of the numbers.
func (b *bitmap) grow() {
	b.index, b.chunks = map[uint64]int32{}, []bitmapChunk{}
	for _, v := range b.small {
		b.insert(v)
	}
	b.memory -= 8 * int64(cap(b.small))
	b.small = nil
}

// chunk finds or makes the one of a number.
func (b *bitmap) chunk(key uint64) *bitmapChunk {
	if b.last < len(b.chunks) && b.chunks[b.last].key == key {
		return &b.chunks[b.last]
	}
	i, ok := b.index[key]
	if !ok {
		i = int32(len(b.chunks))
		b.index[key] = i
		b.chunks = append(b.chunks, bitmapChunk{key: key})
		b.memory += chunkEntry
	}
	b.last = int(i)
	return &b.chunks[i]
}

func (b *bitmap) insert(v uint64) {
	c := b.chunk(v >> 16)
	low := uint16(v)
	if c.dense != nil {
		word, bit := &c.dense[low>>6], uint64(1)<<(low&63)
		if *word&bit == 0 {
			*word |= bit
			c.number++
		}
		return
	}
	at := len(c.list)
	if at > 0 && low <= c.list[at-1] { // most often they ascend
		var there bool
		if at, there = slices.BinarySearch(c.list, low); there {
			return
		}
	}
	if c.number == chunkSparse {
		b.memory += c.densify()
		c.dense[low>>6] |= 1 << (low & 63)
		c.number++
		return
	}
	before := cap(c.list)
	c.list = slices.Insert(c.list, at, low)
	c.number++
	b.memory += 2 * int64(cap(c.list)-before)
}

// densify makes bits of the list. It returns by how much memory grew.
func (c *bitmapChunk) densify() int64 {
	c.dense = new([chunkWords]uint64)
	for _, low := range c.list {
		c.dense[low>>6] |= 1 << (low & 63)
	}
	grown := chunkBytes - 2*int64(cap(c.list))
	c.list = nil
	return grown
}

func (b *bitmap) merge(from *bitmap, _ cells, _ int) {
	for _, v := range from.small {
		b.add(v)
	}
	if from.chunks == nil {
		return
	}
	if b.chunks == nil {
		b.grow()
	}
	for i := range from.chunks {
		f := &from.chunks[i]
		for _, low := range f.list {
			b.insert(f.key<<16 | uint64(low))
		}
		if f.dense == nil {
			continue
		}
		c := b.chunk(f.key)
		if c.dense == nil {
			b.memory += c.densify()
		}
		c.number = 0
		for w, word := range f.dense {
			c.dense[w] |= word
			c.number += bits.OnesCount64(c.dense[w])
		}
	}
}

// append writes, of up to 32 numbers: a byte 0, varint n, the numbers; of more: a byte 1, varint bytes, and these: uint64 how many numbers
// of 32 bits their upper halves are; of each that number and what roaring writes of the lower halves.
func (b *bitmap) append(dst []byte, _ cells) []byte {
	if b.chunks == nil {
		dst = binary.AppendUvarint(append(dst, 0), uint64(len(b.small)))
		for _, v := range b.small {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
		return dst
	}
	chunks := slices.Clone(b.chunks)
	slices.SortFunc(chunks, func(x, y bitmapChunk) int { return cmp.Compare(x.key, y.key) })
	size, uppers := 8, 0
	for i := range chunks {
		if i == 0 || chunks[i].key>>16 != chunks[i-1].key>>16 {
			size += 12
			uppers++
		}
		size += 8 + chunks[i].bytes()
	}
	dst = binary.AppendUvarint(append(dst, 1), uint64(size))
	dst = binary.LittleEndian.AppendUint64(slices.Grow(dst, size), uint64(uppers))
	for len(chunks) > 0 {
		upper, n := chunks[0].key>>16, 1
		for n < len(chunks) && chunks[n].key>>16 == upper {
			n++
		}
		dst = appendRoaring(binary.LittleEndian.AppendUint32(dst, uint32(upper)), chunks[:n])
		chunks = chunks[n:]
	}
	return dst
}

// bytes is what the numbers take in a state.
func (c *bitmapChunk) bytes() int {
	if c.dense != nil {
		return chunkBytes
	}
	return 2 * len(c.list)
}

// appendRoaring writes the portable format (https://github.com/RoaringBitmap/RoaringFormatSpec): uint32 12346, uint32 n; of each chunk uint16
// what its numbers begin with and uint16 how many they are less one; of each chunk uint32 where its numbers are; the numbers, uint16 each or
// 65,536 bits.
func appendRoaring(dst []byte, chunks []bitmapChunk) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, roaringPlain)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(chunks)))
	for i := range chunks {
		dst = binary.LittleEndian.AppendUint16(dst, uint16(chunks[i].key))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(chunks[i].number-1))
	}
	at := 8 + 8*len(chunks)
	for i := range chunks {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(at))
		at += chunks[i].bytes()
	}
	for i := range chunks {
		if c := &chunks[i]; c.dense != nil {
			dst = append(dst, batch.Bytes(c.dense[:])...)
		} else {
			dst = append(dst, batch.Bytes(c.list)...)
		}
	}
	return dst
}

func (b *bitmap) load(src []byte, _ cells) error {
	r := reader{src: src}
	switch r.byte() {
	case 0:
		n := r.count(8)
		if n == 0 || n > bitmapSmall {
			return errState
		}
		for range n {
			b.add(r.uint64())
		}
		if len(b.small) != n { // one was there twice
			return errState
		}
		return r.end()
	case 1:
		if n := r.uvarint(); n != uint64(len(r.src)) {
			return errState
		}
	default:
		return errState
	}
	b.grow()
	before := int64(-1)
	for range r.uint64() {
		upper := r.uint32()
		if r.bad || int64(upper) <= before || !b.loadRoaring(&r, uint64(upper)) {
			return errState
		}
		before = int64(upper)
	}
	if len(b.chunks) == 0 {
		return errState
	}
	return r.end()
}

// loadRoaring reads the lower halves of numbers.
func (b *bitmap) loadRoaring(r *reader, upper uint64) bool {
	if r.uint32() != roaringPlain {
		return false
	}
	n := int(r.uint32())
	heads, offsets := r.take(4*n), reader{src: r.take(4 * n)}
	if r.bad || n == 0 || n > 1<<16 {
		return false
	}
	at := 8 + 8*n
	for i := range n {
		key, number := binary.LittleEndian.Uint16(heads[4*i:]), int(binary.LittleEndian.Uint16(heads[4*i+2:]))+1
		if i > 0 && key <= binary.LittleEndian.Uint16(heads[4*i-4:]) || int(offsets.uint32()) != at {
			return false
		}
		c := b.chunk(upper<<16 | uint64(key))
		size := 2 * number
		if number > chunkSparse {
			size = chunkBytes
		}
		data := r.take(size)
		if at += size; r.bad || c.number > 0 {
			return false
		}
		if number > chunkSparse {
			b.memory += c.densify()
			copy(batch.Bytes(c.dense[:]), data)
			for _, word := range c.dense {
				c.number += bits.OnesCount64(word)
			}
		} else {
			c.list, c.number = make([]uint16, number), number
			copy(batch.Bytes(c.list), data)
			b.memory += 2 * int64(cap(c.list))
			for k := 1; k < number; k++ {
				if c.list[k] <= c.list[k-1] {
					return false
				}
			}
		}
		if c.number != number {
			return false
		}
	}
	return true
}
