package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Slabs have room for what is asked, and are taken back whatever the client has made of them.
func TestSlabs(t *testing.T) {
	var s slabs
	for _, n := range []int{0, 1, 2, 3, 1000, 1024, 1025, 1 << maxSlab} {
		got := s.GetRecords(n)
		if len(got) != 0 || cap(got) < n {
			t.Errorf("a slab for %d records has %d and room for %d", n, len(got), cap(got))
		}
		s.PutRecords(got[:n])
	}
	if got := s.GetRecords(1<<maxSlab + 1); got != nil {
		t.Errorf("a slab of %d is kept", cap(got))
	}
	s.PutRecords(make([]kgo.Record, 100)) // of the client's own making
	s.PutRecords(nil)
	if got := s.GetRecords(100); cap(got) < 100 || len(got) != 0 {
		t.Errorf("a slab for 100 records has room for %d", cap(got))
	}
}
