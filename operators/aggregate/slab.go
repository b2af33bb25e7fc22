package aggregate

import (
	"unsafe"

	"github.com/weir-stream/weir/ingest/batch"
)

// Slab is memory of groups, a row of words for each: what a row of the stream touches of its group lies side by side, and so in
// one or two lines of the processor's cache. With many groups nearly all of the time goes into waiting for these.
type Slab struct {
	Words  []uint64
	Stride int // words of a group
}

// Room is how many groups have a row.
func (s *Slab) Room() int { return len(s.Words) / s.Stride }

// Grow makes room for groups below n. What is new is zero.
func (s *Slab) Grow(n int) { s.Words = grow(s.Words, n*s.Stride) }

// Placed is an accumulator whose states are a few words a group, and can lie in a slab beside those of others.
type Placed interface {
	Accumulator
	// Words is how many words of a group it takes.
	Words() int
	// Place has it take those from at on of each row of a slab. It comes before all else. From then on the slab is to be grown before
	// the accumulator is, and as far, and what is new is zeroes.
	Place(s *Slab, at int)
	// Zero tells whether zeroes are an empty group. Otherwise a group that is new is to be Reset: memory is not touched before it is used.
	Zero() bool
}

// placed is where the states of a Placed are: in a slab of its own until it is placed.
type placed struct {
	slab  *Slab
	at    int // words of a row before its own
	words int
	own   bool
}

func placedIn(words int) placed { return placed{slab: &Slab{Stride: words}, words: words, own: true} }

// Words implements Placed.
func (p *placed) Words() int { return p.words }

// Place implements Placed.
func (p *placed) Place(s *Slab, at int) { p.slab, p.at, p.own = s, at, false }

// Zero implements Placed.
func (p *placed) Zero() bool { return true }

// Grow implements Accumulator.
func (p *placed) Grow(n int) {
	if p.own {
		p.slab.Grow(n)
	}
}

// of is the first word of a group.
func (p *placed) of(g uint32) int { return int(g)*p.slab.Stride + p.at }

// numberAt is a word as a number of another type. It is always the same type for a word.
func numberAt[T number](words []uint64, i int) *T { return (*T)(unsafe.Pointer(&words[i])) }

// emitCells gathers a word of each group into a column.
func emitCells[T number](p *placed, groups []uint32) batch.Column {
	out := make([]T, len(groups))
	for i, g := range groups {
		out[i] = *numberAt[T](p.slab.Words, p.of(g))
	}
	return batch.Column{Values: batch.Bytes(out)}
}

// loadCells scatters a column over a word of each group.
func loadCells[T number](p *placed, groups []uint32, c *batch.Column) {
	values := batch.As[T](c.Values)
	for i, g := range groups {
		if g != Skip {
			*numberAt[T](p.slab.Words, p.of(g)) = values[i]
		}
	}
}
