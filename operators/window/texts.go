package window

import (
	"encoding/binary"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// texts are the text keys of all groups. Short ones lie in the slab, with all else that a row touches of its group; long ones in one piece
// of memory. So there is nothing to allocate, and nothing for the garbage collector to look at, per group.
//
//	a short text    its bytes, zeroes behind, uint32 its length
//	a long one      its first 8 bytes, uint64 where it is in data, uint32 zero, uint32 its length
type texts struct {
	slab *aggregate.Slab
	at   int    // words of a row before the text's
	data []byte // of the long ones
	dead int    // bytes of data that no group has
}

// textWords is how many words of a group a text takes, and shortText how long those are that fit in them.
const textWords, shortText = 3, 20

// textOf is the words of a text. Of a long one, those are without where it is.
type textOf [textWords]uint64

// shortMasks have, by length, those bits of the words that are of a short text.
var shortMasks = func() (m [shortText + 1]textOf) {
	for n := range m {
		for i := range n {
			m[n][i/8] |= 0xff << (i % 8 * 8)
		}
	}
	return m
}()

// shortWords reads a short text. What is behind it in memory may be read, and counts for nothing.
func shortWords(v []byte) textOf {
	n := len(v)
	if cap(v) < textWords*8 {
		var b [textWords * 8]byte
		copy(b[:], v)
		v = b[:]
	}
	v = v[:textWords*8]
	m := &shortMasks[n]
	return textOf{
		binary.LittleEndian.Uint64(v) & m[0], binary.LittleEndian.Uint64(v[8:]) & m[1], binary.LittleEndian.Uint64(v[16:])&m[2] | uint64(n)<<32,
	}
}

func (t *texts) words(g uint32) *textOf {
	return (*textOf)(t.slab.Words[int(g)*t.slab.Stride+t.at:])
}

// length is that of the text of a group.
func (t *texts) length(g uint32) int { return int(t.words(g)[2] >> 32) }

// get is the text of a group. It is valid until the next change.
func (t *texts) get(g uint32) []byte {
	w := t.words(g)
	n := w[2] >> 32
	if n <= shortText {
		return batch.Bytes(w[:])[:n]
	}
	return t.data[w[1] : w[1]+n]
}

// is tells whether a group has a text.
func (t *texts) is(g uint32, v []byte) bool {
	if len(v) <= shortText {
		return *t.words(g) == shortWords(v)
	}
	return t.length(g) == len(v) && string(t.get(g)) == string(v)
}

// set gives a group a text. That of a group that was closed makes room for the next.
func (t *texts) set(g uint32, v []byte) {
	w := t.words(g)
	n := w[2] >> 32
	if n <= shortText {
		n = 0
	}
	if len(v) <= shortText {
		t.dead += int(n)
		*w = shortWords(v)
		return
	}
	if uint64(len(v)) <= n {
		t.dead += int(n) - len(v)
		copy(t.data[w[1]:], v)
	} else {
		t.dead += int(n)
		w[2] = 0
		if t.dead > sparseAbove && t.dead > len(t.data)/2 {
			t.compact()
		}
		w[1] = uint64(len(t.data))
		before := cap(t.data)
		if t.data = append(t.data, v...); cap(t.data) != before {
			batch.Huge(t.data)
		}
	}
	w[0], w[2] = binary.LittleEndian.Uint64(v), uint64(len(v))<<32
}

// sparseAbove is how much memory may lie dead before it is looked at whether it is most of it.
const sparseAbove = 64 << 10

// compact leaves out what is dead.
func (t *texts) compact() {
	data := batch.Huge(make([]byte, 0, 2*(len(t.data)-t.dead)))
	for g := range uint32(t.slab.Room()) {
		if t.length(g) > shortText {
			off := uint64(len(data))
			data = append(data, t.get(g)...)
			t.words(g)[1] = off
		}
	}
	t.data, t.dead = data, 0
}

// memorySize is what they take beside the slab.
func (t *texts) memorySize() int64 { return int64(cap(t.data)) }
