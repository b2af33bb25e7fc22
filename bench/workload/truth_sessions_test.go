package workload

import (
	"fmt"
	"testing"
	"time"
)

// TestSessions holds the truth to the edges of sessions: a gap, nearly a gap, a cut, rows of two partitions, and one that is late.
func TestSessions(t *testing.T) {
	rows := []struct {
		partition int32
		key       string
		time      time.Duration
	}{
		{0, "a", 5 * time.Second},
		{1, "a", 0}, // 5 s before the one above, of another partition
		{0, "a", 15*time.Second - time.Millisecond}, // nearly a gap behind
		{0, "a", 25*time.Second - time.Millisecond}, // a gap behind: another one
		{0, "b", 59 * time.Second},
		{0, "b", 61 * time.Second}, // a cut between them
		{0, "a", 100 * time.Second},
		{0, "c", 90 * time.Second}, // 90 s + gap is the watermark: nearly late
		{0, "c", 88 * time.Second},
		{0, "c", 87 * time.Second}, // in time by a second, and late by nothing
		{1, "c", 200 * time.Second},
		{1, "b", 70500 * time.Millisecond}, // the second is late there
	}
	i := 0
	read := func(*Record) reading {
		r := rows[i]
		i++
		return reading{time: r.time.Microseconds(), keys: [2]string{r.key}}
	}
	truth, err := newTruth(Rules{Window: 10 * time.Second, MaxLength: time.Minute, MaxOutOfOrder: 2 * time.Second, AllowedLateness: time.Second, MaxRecord: 1}, Rules{},
		Columns{Keys: []string{"key"}, Values: []Value{{"rows", true}}}, read, func(t total) []float64 { return []float64{float64(t.rows)} })
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		truth.Add(&Record{Partition: r.partition, Value: []byte{1}})
	}
	want := "[{0 [a] [3]} {24999 [a] [1]} {59000 [b] [1]} {61000 [b] [1]} {88000 [c] [2]} {100000 [a] [1]} {200000 [c] [1]}]"
	if got := fmt.Sprint(truth.Windows()); got != want {
		t.Errorf("the sessions are %s, should be %s", got, want)
	}
	if got := truth.Counts(); got.Late != 2 || got.Aggregated != 10 {
		t.Errorf("two rows are late, counted as %+v", got)
	}
}
