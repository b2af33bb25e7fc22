package kafka

import (
	"math/bits"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// slabs are the records of the client, used again: one takes more memory than what it carries mostly does, and it is needed only
// until the engine has its own. The bytes of keys and values are not among them; they live as long as anybody has them.
//
// They are kept by the power of two that their number is below, and for as long as the garbage collector leaves them.
type slabs struct {
	of [maxSlab + 1]sync.Pool // *[]kgo.Record of 1<<i
}

// maxSlab is the power of two of the largest slab that is kept. Producers send some hundred to some thousand records at a time.
const maxSlab = 15

var _ kgo.PoolRecords = (*slabs)(nil)

// GetRecords implements kgo.PoolRecords.
func (s *slabs) GetRecords(n int) []kgo.Record {
	class := bits.Len(uint(max(n, 1) - 1))
	if class > maxSlab {
		return nil // the client makes them
	}
	if slab, ok := s.of[class].Get().(*[]kgo.Record); ok {
		return *slab
	}
	return make([]kgo.Record, 0, 1<<class)
}

// PutRecords implements kgo.PoolRecords.
func (s *slabs) PutRecords(slab []kgo.Record) {
	if class := bits.Len(uint(cap(slab))) - 1; class >= 0 && class <= maxSlab && cap(slab) == 1<<class {
		slab = slab[:0]
		s.of[class].Put(&slab)
	}
}
