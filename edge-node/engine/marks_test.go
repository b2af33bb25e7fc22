package engine

import (
	"slices"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// A batch of a replay ends where the next mark is, also when it begins at one: the clock there is known only then.
func TestUntilMark(t *testing.T) {
	tests := map[string]struct {
		marks []int64
		want  []int64 // where batches begin; the log has a hole at 15 and 16
	}{
		"none":              {nil, []int64{10, 20}},
		"where it begins":   {[]int64{10}, []int64{10, 20}},
		"between":           {[]int64{13}, []int64{10, 13}},
		"one after another": {[]int64{10, 13, 14, 21}, []int64{10, 13, 14, 21}},
		"where none is":     {[]int64{13, 15, 16, 20}, []int64{10, 13, 17, 20}},
		"behind the last":   {[]int64{13, 22}, []int64{10, 13}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var records []batch.Record
			for offset := int64(10); offset < 22; offset++ {
				if offset != 15 && offset != 16 {
					records = append(records, batch.Record{Offset: offset})
				}
			}
			m := memory{marks: tt.marks}
			var got []int64
			for len(records) > 0 {
				got = append(got, records[0].Offset)
				records = records[m.untilMark(records[:min(8, len(records))]):]
				// The marks that are passed are taken away when the batch is processed, which is later.
				for len(m.marks) > 0 && m.marks[0] <= got[len(got)-1] {
					m.marks = m.marks[1:]
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("batches begin at %d, want %d", got, tt.want)
			}
		})
	}
}
