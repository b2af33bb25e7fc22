// Package weir_test holds the tree to its architecture: which folders there are, which package may import which, and
// where each large dependency comes in. Imports follow the data: ingest, operators, sink; edge-node wires them.
//
// It parses the files itself. A test that ran the go command would be answered from the test cache although the tree
// had changed.
package weir_test

import (
	"os"
	"testing"
)

const module = "github.com/weir-stream/weir"

// folders are all that may stand at the top of the tree, beside folders that begin with a dot.
var folders = []string{"bench", "deploy", "edge-node", "examples", "ingest", "operators", "sink"}

// built are folders at the top that git ignores.
var built = []string{"bin", "dist", "weir-data"}

// The contracts: all that stages and engine know of each other.
var contracts = []string{"ingest", "ingest/batch", "operators", "sink"}

// imports lists, for each package, which packages of this module it may import. A name that ends in /... stands for
// everything below it, and for nothing else. The entry of a package is the one with its path, or else the longest /...
// above it.
var imports = map[string][]string{
	// The vocabulary. It imports nothing, and everything may import it.
	"ingest/batch": {},

	// Empty as weir is built for use: stages call it where a test may want them to die.
	"edge-node/failpoint": {},

	"ingest":        {"ingest/batch"},
	"ingest/schema": {"ingest/batch"},
	"ingest/decode": {"ingest", "ingest/batch", "ingest/schema"},
	"ingest/kafka":  {"ingest", "ingest/batch"},

	"operators":             {"ingest/batch"},
	"operators/abi":         {"ingest/batch"},
	"operators/aggregate":   {"ingest/batch"},
	"operators/expr":        {"ingest/batch"},
	"operators/calendar":    {},
	"operators/builtin":     {"ingest/batch", "operators", "operators/expr"},
	"operators/wasm":        {"ingest/batch", "operators", "operators/abi", "operators/aggregate", "operators/wasm/leb128", "operators/wasm/meter"},
	"operators/wasm/meter":  {"operators/wasm/leb128"},
	"operators/wasm/leb128": {},
	"operators/window":      {"ingest/batch", "operators", "operators/aggregate", "operators/calendar"},
	// What runs inside the sandbox knows nothing of what is outside.
	"operators/sdk/...": {"operators/sdk/..."},
	// The guest libraries as files, for authors.
	"operators/sdk": {},

	"sink":            {"ingest/batch"},
	"sink/spool":      {"ingest/batch", "sink"},
	"sink/delivery":   {"ingest/batch", "sink"},
	"sink/uplink":     {},
	"sink/clickhouse": {"edge-node/failpoint", "ingest/batch", "sink"},

	// main: a call of the cli, or of the embedded server that this process is to be.
	"edge-node":          {"edge-node/cli", "edge-node/embedded"},
	"edge-node/config":   {"ingest/batch", "ingest/schema", "operators/aggregate", "operators/calendar", "sink/uplink"},
	"edge-node/engine":   append([]string{"edge-node/failpoint"}, contracts...),
	"edge-node/metering": {"edge-node/engine", "sink"},
	"edge-node/replay":   append([]string{"edge-node/engine"}, contracts...),
	// What people do with dead letters: it connects where they are kept with where they came from.
	"edge-node/deadletter": {"ingest/batch", "ingest/kafka", "sink/clickhouse"},
	// What is told of windows on site.
	"edge-node/output": {"ingest/batch", "ingest/kafka", "operators", "operators/aggregate", "operators/expr"},
	// The only package that knows all stages.
	"edge-node/pipeline": append([]string{"edge-node/config", "edge-node/deadletter", "edge-node/engine", "edge-node/metering", "edge-node/output", "edge-node/replay", "ingest/...", "operators/...", "sink/..."}, contracts...),
	"edge-node/metrics":  append([]string{"edge-node/engine"}, contracts...),
	"edge-node/web":      append([]string{"edge-node/engine", "edge-node/metrics", "edge-node/pipeline"}, contracts...),
	"edge-node/cli": append([]string{
		"bench/contender", "bench/harness", "bench/peers", "bench/report", "bench/workload", "examples", "edge-node/authoring", "edge-node/config", "edge-node/deadletter", "edge-node/embedded/...", "edge-node/embedded", "edge-node/engine", "edge-node/metrics",
		"edge-node/pipeline", "edge-node/replay", "edge-node/web", "sink/clickhouse",
	}, contracts...),

	// The tools of operator authors run modules in the real host, and nothing else of the node.
	"edge-node/authoring": {
		"ingest/batch", "ingest/decode", "ingest/schema", "operators", "operators/abi", "operators/aggregate", "operators/sdk", "operators/wasm", "operators/wasm/leb128",
	},

	"edge-node/endtoend": {}, // tests alone
	// Brokers of Apache Kafka, for tests.
	"edge-node/kafkatest": {},
	// Flights of a year, for tests.
	"edge-node/flightstest": {},

	"edge-node/simulation": {}, // tests alone

	// What the torture tests measure, and the command that prints it.
	"edge-node/torture":       {},
	"edge-node/torture/table": {"edge-node/torture"},

	"edge-node/embedded":              {"edge-node/embedded/..."},
	"edge-node/embedded/kafka":        {},
	"edge-node/embedded/libchdb":      {},
	"edge-node/embedded/clickhouse":   {"edge-node/embedded/libchdb"},
	"edge-node/embedded/embeddedtest": {"edge-node/embedded", "edge-node/embedded/..."},

	// The truth shares no code with what it judges.
	"bench/workload": {},
	"bench/report":   {},
	// What the benchmarks know of a program that does a workload.
	"bench/contender": {"bench/workload"},
	// Other stream processors as contenders.
	"bench/peers": {"bench/contender"},
	// It drives a built binary; what that cannot tell, such as allocations per row, it measures on a planned pipeline.
	"bench/harness": {
		"bench/contender", "bench/report", "bench/workload", "edge-node/config", "edge-node/embedded", "edge-node/embedded/...", "edge-node/pipeline",
		"examples", "ingest/batch", "ingest/decode",
	},

	"deploy":                 {},
	"examples":               {}, // files for the demo to carry
	"examples/operators/...": {"operators/sdk/..."},
}

// guests run in the sandbox, where no main is called: their init is the way in.
var guests = []string{"operators/sdk/...", "examples/operators/..."}

// wiring are the folders whose tests may import everything, because they are about the whole.
var wiring = []string{"bench", "deploy", "edge-node", "examples"}

// testSupport are packages that only tests may import. They alone, outside of test files, may import testing.
var testSupport = []string{"edge-node/embedded/embeddedtest", "edge-node/flightstest", "edge-node/kafkatest"}

// testImports is what test files may import of this module beyond their own stage and what the package itself may: real
// parts to test against.
var testImports = []string{
	"ingest/batch", "ingest/schema", "operators/calendar", "bench/workload", "edge-node/embedded", "edge-node/embedded/...", "edge-node/flightstest", "edge-node/kafkatest", "edge-node/torture",
}

// gates lists the packages that may import a module, test files aside. The longest entry that fits an import counts; an
// import that fits none is refused. Adding a line here is a decision: the dependency ends up in the binary.
var gates = map[string][]string{
	"github.com/apache/arrow":             {"ingest/batch"},
	"github.com/cespare/xxhash":           {"ingest/batch"},
	"github.com/twmb/franz-go":            {"ingest/kafka", "bench/...", "edge-node/cli", "edge-node/embedded/kafka", "edge-node/embedded/embeddedtest", "edge-node/kafkatest"},
	"github.com/twmb/franz-go/pkg/kfake":  {"edge-node/embedded/kafka"},
	"github.com/expr-lang/expr":           {"operators/expr"},
	"github.com/tetratelabs/wazero":       {"operators/wasm"},
	"github.com/ClickHouse/clickhouse-go": {"sink/clickhouse", "bench/contender", "bench/harness", "edge-node/cli", "edge-node/embedded/embeddedtest"},
	"github.com/cockroachdb/pebble":       {"sink/spool"},
	"github.com/ClickHouse/ch-go":         {"edge-node/embedded/clickhouse"},
	"github.com/andybalholm/brotli":       {"edge-node/embedded/clickhouse"},
	"github.com/klauspost/compress":       {"edge-node/embedded/clickhouse", "ingest/decode"},
	"github.com/pierrec/lz4":              {"ingest/decode"},
	"github.com/shopspring/decimal":       {"sink/clickhouse"},
	"github.com/google/uuid":              {"edge-node/embedded/clickhouse", "sink/clickhouse"},
	"github.com/ebitengine/purego":        {"edge-node/embedded/libchdb"},
	"go.yaml.in/yaml":                     {"edge-node/config"},
	"github.com/spf13":                    {"edge-node/cli"},
	"github.com/prometheus/client_golang": {"edge-node/metrics", "edge-node/web"},
	"github.com/go-faster/city":           {"operators/aggregate"},
	"golang.org/x/sys":                    {"ingest/batch", "ingest/kafka", "operators/wasm", "edge-node/cli", "edge-node/embedded/..."},
	"golang.org/x/term":                   {"edge-node/cli", "edge-node/embedded/libchdb"},
	"golang.org/x/tools/txtar":            {"edge-node/authoring", "edge-node/cli", "edge-node/pipeline"},
}

func rules() *architecture {
	return &architecture{
		module: module, folders: folders, built: built, imports: imports,
		guests: guests, wiring: wiring, testSupport: testSupport, testImports: testImports, gates: gates,
	}
}

func TestArchitecture(t *testing.T) {
	problems, err := rules().check(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
