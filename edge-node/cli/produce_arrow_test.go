package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/ipc"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

const arrowPipeline = `pipeline: readings
source:
  kafka: {topics: [readings]}
  format: arrow
  columns:
    device: string
    ts: timestamp[ms]
    line: {type: "int32?", path: [unit.line]}
    k: {type: "string?", kafka: key}
time: {column: ts}
window: {tumbling: 10s, aggregates: {n: count()}}
sink: {clickhouse: {}}
`

// TestProduceArrow reads what was sent with Arrow's own library.
func TestProduceArrow(t *testing.T) {
	brokers, prefix := embeddedtest.Kafka(t)
	file := t.TempDir() + "/readings.yaml"
	if err := os.WriteFile(file, []byte(arrowPipeline), 0o600); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for i := range 5 {
		fmt.Fprintf(&in, `{"device":"d%d","ts":%d,"unit.line":%d,"other":[1]}`+"\n", i, 1714557600000+i, i)
	}
	args := []string{"produce", "arrow", file, "--kafka", strings.Join(brokers, ","), "--topic", prefix + "readings", "--partitions", "1", "--rows", "2"}
	stdout, stderr, code := runCommand(t, args, []byte(in.String()))
	if code != 0 || !strings.HasPrefix(stdout, "sent 3 records to 1 partition of topic ") || stderr != "" {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	rows := 0
	for _, record := range consume(t, brokers, prefix+"readings", 3) {
		value, keyless := strings.CutPrefix(record, "0 null=")
		r, err := ipc.NewReader(strings.NewReader(value))
		if err != nil || !keyless {
			t.Fatalf("%q: %v", record, err)
		}
		if got := r.Schema().String(); !strings.Contains(got, "device: type=utf8\n") || !strings.Contains(got, "ts: type=timestamp[ms, tz=UTC]\n") || !strings.Contains(got, "unit.line: type=int32, nullable") || strings.Contains(got, "k: ") {
			t.Errorf("schema %s", got)
		}
		for r.Next() {
			rows += int(r.Record().NumRows())
		}
		if r.Err() != nil {
			t.Error(r.Err())
		}
	}
	if rows != 5 {
		t.Errorf("%d rows of 5", rows)
	}

	_, stderr, code = runCommand(t, args, []byte(in.String()+`{"device":"d5","ts":"soon"}`))
	if want := `line 6 (empty ones not counted) does not fit the columns: wrong_type: column ts (timestamp[ms]): `; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("exit %d\n%s\nwant %s", code, stderr, want)
	}
}
