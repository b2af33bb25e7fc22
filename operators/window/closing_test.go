package window

import (
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/aggregate"
)

// Closing says how many groups the next cut closes, and that is none after it. Windows are open for 30 s here, and each of ten
// batches is 10 s on.
func TestClosing(t *testing.T) {
	s := numbersSchema()
	count, err := aggregate.New(aggregate.Spec{Func: "count"})
	if err != nil {
		t.Fatal(err)
	}
	w := New(&Config{
		In: s, Size: 10 * time.Second, AllowedLateness: 20 * time.Second, Keys: []int{1},
		Aggregate: []Aggregate{{Aggregate: count, Name: "count"}},
	})
	const keys, rounds = 100, 10
	closed := 0
	for round := range rounds {
		in := manyKeys(s, keys)[0]
		for i, ts := range batch.As[int64](in.Cols[0].Values) {
			batch.As[int64](in.Cols[0].Values)[i] = ts + int64(round)*10_000
		}
		add(t, w, in, 0)
		if round%3 != 2 {
			continue
		}
		before, closing := w.Groups(), w.Closing()
		w.Cut(int64(round))
		if before-w.Groups() != closing || w.Closing() != 0 {
			t.Fatalf("round %d: the cut closed %d groups, was to close %d, and the next is to close %d", round, before-w.Groups(), closing, w.Closing())
		}
		closed += closing
	}
	if closed != (rounds-4)*keys {
		t.Errorf("%d groups were closed, want %d", closed, (rounds-4)*keys)
	}
}
