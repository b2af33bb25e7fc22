package window

import "github.com/weir-stream/weir/ingest/batch"

// texts are the text keys of all groups in one piece of memory, so that there is nothing to allocate, and nothing for the garbage
// collector to look at, per group.
type texts struct {
	data []byte
	at   []textAt // by group
	dead int      // bytes of data that no group has
}

type textAt struct {
	off uint64
	n   uint32
}

// sparseAbove is how much memory may lie dead before it is looked at whether it is most of it.
const sparseAbove = 64 << 10

func (t *texts) get(g uint32) []byte {
	at := t.at[g]
	return t.data[at.off : at.off+uint64(at.n)]
}

// set gives a group a text. That of a group that was closed makes room for the next.
func (t *texts) set(g uint32, v []byte) {
	at := &t.at[g]
	if len(v) <= int(at.n) {
		t.dead += int(at.n) - len(v)
		at.n = uint32(copy(t.data[at.off:], v))
		return
	}
	t.dead += int(at.n)
	at.n = 0
	if t.dead > sparseAbove && t.dead > len(t.data)/2 {
		t.compact()
	}
	*at = textAt{uint64(len(t.data)), uint32(len(v))}
	before := cap(t.data)
	if t.data = append(t.data, v...); cap(t.data) != before {
		batch.Huge(t.data)
	}
}

// compact leaves out what is dead.
func (t *texts) compact() {
	data := batch.Huge(make([]byte, 0, 2*(len(t.data)-t.dead)))
	for g := range t.at {
		off := uint64(len(data))
		data = append(data, t.get(uint32(g))...)
		t.at[g].off = off
	}
	t.data, t.dead = data, 0
}

func (t *texts) memorySize() int64 { return int64(cap(t.data)) + 16*int64(cap(t.at)) }
