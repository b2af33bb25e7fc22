package peers

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// projected is a row of W2 as an engine without windows leaves it.
type projected struct {
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	TS        int64   `json:"ts"`
	Seq       int64   `json:"seq"`
	TempF     float64 `json:"temp_f"`
}

// What the pipeline of W2 says, in milliseconds.
const (
	minute   = 60_000
	disorder = 2_000
	lateness = 60_000
)

// fold makes the answer of W2 from rows in any order: those of a partition by their offsets, each once, less the late ones, summed up per
// minute. A row that is not as it should be is the engine's mistake.
func fold(rows, answer string) error {
	in, err := os.Open(rows)
	if err != nil {
		return fmt.Errorf("sum up the rows: %w", err)
	}
	defer func() { _ = in.Close() }()
	var all []projected
	for dec := json.NewDecoder(in); ; {
		var r projected
		if err := dec.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("sum up the rows: row %d of %s: %w", len(all)+1, rows, err)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b projected) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	all = slices.CompactFunc(all, func(a, b projected) bool { return a.Partition == b.Partition && a.Offset == b.Offset })

	type total struct{ n, seqs, high, sum float64 }
	minutes := map[int64]*total{}
	var latest int64
	for i, r := range all {
		if i == 0 || all[i-1].Partition != r.Partition {
			latest = r.TS
		}
		start := r.TS - (r.TS%minute+minute)%minute
		if start+minute+lateness <= latest-disorder {
			continue
		}
		latest = max(latest, r.TS)
		t := minutes[start]
		if t == nil {
			t = &total{high: r.TempF}
			minutes[start] = t
		}
		t.n, t.seqs, t.high, t.sum = t.n+1, t.seqs+float64(r.Seq), max(t.high, r.TempF), t.sum+r.TempF
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for start, t := range minutes {
		if err := enc.Encode(map[string]any{"start": start, "keys": []string{}, "values": []float64{t.n, t.seqs, t.high, t.sum}}); err != nil {
			return fmt.Errorf("sum up the rows: %w", err)
		}
	}
	if err := os.WriteFile(answer, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
