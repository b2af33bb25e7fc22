package workload

import (
	"fmt"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestCases holds every workload to its word: its stream is the same each time, its size is heeded, its pipeline is valid, and its truth
// has an answer and an account that add up.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if names[c.Name] || c.About == "" || c.Events < 1 {
				t.Errorf("the name is taken, or something is not said: %+v", c)
			}
			names[c.Name] = true
			env := map[string]string{"BENCH_NAME": "one", "BENCH_TOPIC": "two", "BENCH_OPERATORS": "../../examples/operators"}
			spec, err := config.ParseEnv("pipelines/"+c.Name+".yaml", []byte(c.Pipeline), config.Env{Lookup: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
			if err != nil {
				t.Fatal(err)
			}
			if spec.Name != "one" || spec.Source.Kafka.Topics[0].Name != "two" {
				t.Errorf("name and topic do not come from the environment: %s, %v", spec.Name, spec.Source.Kafka.Topics)
			}
			size := Size{Seed: 3, Events: 5000, Partitions: 2}
			truth, err := c.Truth(size)
			if err != nil {
				t.Fatal(err)
			}
			var sums [2]string
			for i := range sums {
				g, err := c.Stream(size)
				if err != nil {
					t.Fatal(err)
				}
				sums[i] = sum(g)
			}
			if sums[0] != sums[1] {
				t.Error("two streams of one size differ")
			}
			g, err := c.Stream(size)
			if err != nil {
				t.Fatal(err)
			}
			var n int64
			offsets := map[int32]int64{}
			for r := (Record{}); g.Next(&r); n++ {
				if r.Partition < 0 || r.Partition >= 2 || r.Offset != offsets[r.Partition] {
					t.Fatalf("record %d is in partition %d at offset %d", n, r.Partition, r.Offset)
				}
				offsets[r.Partition]++
				truth.Add(&r)
			}
			counts := truth.Counts()
			if n != 5000 || counts.Records != n || counts.Records != counts.Aggregated+counts.Late+counts.Filtered+counts.AllRejected() || counts.AllRejected() > 0 {
				t.Errorf("%d records, counted as %+v", n, counts)
			}
			columns, rows := truth.Columns(), truth.Windows()
			if len(rows) == 0 {
				t.Fatal("there is no answer")
			}
			var declared []string
			for _, a := range spec.Window.Aggregates {
				declared = append(declared, a.Name)
			}
			var answered []string
			for _, v := range columns.Values {
				answered = append(answered, v.Name)
			}
			if fmt.Sprint(declared) != fmt.Sprint(answered) && c.Answer == "" {
				t.Errorf("the pipeline answers %v, the truth %v", declared, answered)
			}
			for _, r := range rows {
				if len(r.Keys) != len(columns.Keys) || len(r.Values) != len(columns.Values) {
					t.Fatalf("a row of the truth has other columns: %+v", r)
				}
			}
		})
	}
}

func TestSelect(t *testing.T) {
	cases, err := Select(Cases(), []string{"ticks", "sensors"})
	if err != nil || len(cases) != 2 || cases[0].Name != "ticks" || cases[1].Name != "sensors" {
		t.Errorf("%v, %v", cases, err)
	}
	if _, err := Select(Cases(), []string{"sensor"}); err == nil {
		t.Error("a workload that is not there was found")
	}
}
