package workload

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Case is a workload of the benchmarks: a stream, the pipeline that reads it, and what the pipeline must answer. It is
// data and two functions, so a new one is one file with one function that returns a Case, one pipeline file, and one line
// in [Cases].
type Case struct {
	// Name is what --workloads takes: a-z, 0-9 and hyphens.
	Name string
	// About says in a line what is measured.
	About string
	// Note says what a reader must know to judge the figures, or is empty.
	Note string
	// Events is how many records there are where nothing else is asked for.
	Events int64
	// Rows is how many rows a record has, of which each is an event in the figures; 0 is one.
	Rows int64
	// Pipeline is the file's text. It is run as it stands, with these variables in its environment:
	//
	//	KAFKA_BROKERS     host:port,...
	//	WEIR_CLICKHOUSE   URL with database
	//	BENCH_NAME        name of the pipeline and so of the group, another one in each run
	//	BENCH_TOPIC       the topic
	//	BENCH_OPERATORS   folder with the example operators, as in ${BENCH_OPERATORS}/calibrate/calibrate.wasm
	//
	// The answer is read from the finished view, which is named after the pipeline.
	Pipeline string
	// Stream makes the records. It is called once for each topic that is filled.
	Stream func(Size) (Generator, error)
	// Truth makes what works out the answer to the same records.
	Truth func(Size) (Oracle, error)
	// Answer is the statement that asks ClickHouse for the answer, where the one made from [Columns] does not do: it gives
	// the start of the window in milliseconds as Int64, the keys as String, the values as Float64; %s stands for the view.
	Answer string
}

// Size is how large a stream is to be. A zero field means what the workload takes by itself; a workload may be bound to
// some of them, and then leaves the field aside.
type Size struct {
	Seed       uint64
	Events     int64
	Partitions int32
	Keys       int           // different keys: devices, symbols, bidders
	Span       time.Duration // event time from the first record to the last
	Bytes      int           // bytes added to each record, in a column no pipeline reads
	Clean      bool          // without late and repeated records: for counting what the usual ones cost
}

// Oracle works out the answer to the records it is given, apart from weir. [Truth] is one.
type Oracle interface {
	// Add takes the next record of its partition. It keeps nothing of r.
	Add(r *Record)
	// Columns names the keys and values of Windows.
	Columns() Columns
	// Windows is the answer to all records so far.
	Windows() []Row
	// Counts accounts for all records so far.
	Counts() Counts
}

//go:embed pipelines/*.yaml
var pipelines embed.FS

// pipelineText is the file of a workload. A file that is not there is a mistake in the code, which any test finds.
func pipelineText(name string) string {
	text, err := pipelines.ReadFile("pipelines/" + name + ".yaml")
	if err != nil {
		panic("workload: " + err.Error())
	}
	return string(text)
}

// Cases lists the workloads in the order they are shown.
func Cases() []Case {
	cases := []Case{
		sensorsCase(), projectCase(), ticksCase(), keysCase(), wideCase(), chainCase(), sketchesCase(), rowsCase(),
	}
	return append(cases, nexmarkCases()...)
}

// Select finds workloads by name, in the order given.
func Select(cases []Case, names []string) ([]Case, error) {
	var out []Case
	for _, name := range names {
		i := slices.IndexFunc(cases, func(c Case) bool { return c.Name == name })
		if i < 0 {
			known := make([]string, len(cases))
			for i, c := range cases {
				known[i] = c.Name
			}
			return nil, fmt.Errorf("there is no workload %q; there are %s", name, strings.Join(known, ", "))
		}
		out = append(out, cases[i])
	}
	return out, nil
}
