package config_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

func parseFile(t *testing.T, name string) *config.Pipeline {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.ParseEnv(filepath.Join("testdata", name), data, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFull(t *testing.T) {
	p := parseFile(t, "full.yml")
	k := p.Source.Kafka
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, want %#v", what, got, want)
		}
	}
	check("brokers", k.Brokers, []string{"a:1", "b:9092"})
	check("group", k.Group, "weir-line-temperature")
	check("tags", p.Tags, []config.Tag{{Key: "team", Value: "plant-ops"}, {Key: "cost_center", Value: "4711"}})
	check("password", k.SASL.Password.Reveal(), "secret")
	check("topics", []any{k.Topics[0].Name, k.Topics[0].Regex == nil, k.Topics[1].Name, k.Topics[1].Regex.MatchString("sensors.a")},
		[]any{"sensors", true, `^sensors\..*`, true})
	temp := p.Source.Columns[2]
	check("temp", temp, schema.Column{
		Field: batch.Field{Name: "temp", Type: batch.Type{Kind: batch.Float64}, Nullable: true}, Path: []string{"payload", "temp"},
	})
	check("epoch of ts", p.Source.Columns[3].Epoch, batch.Millisecond)
	check("epoch of t2", p.Source.Columns[4].Epoch, batch.Second)
	check("key", p.Source.Columns[5].From, schema.FromKey)
	check("header", p.Source.Columns[6].Header, "trace")
	check("steps", len(p.Steps), 6)
	check("module", p.Steps[5].Wasm.File, filepath.Join("testdata", "calibrate.wasm"))
	check("module name", p.Steps[5].Wasm.Name, "calibrate")
	check("config", string(p.Steps[5].Wasm.Config), `{"offset":0.4,"z":[1,31,"yes",null,{"b":1,"a":2}]}`)
	check("late", p.Late.To, config.LateDeadLetters)
	check("table", p.Sink.ClickHouse.Table, "line_temperature")
	check("ttl", p.Sink.ClickHouse.TTL, 90*24*time.Hour)
	check("flush", p.Sink.ClickHouse.FlushEvery, 10*time.Second)
	check("argument", p.Window.Aggregates[2].Args[0], config.Part{Value: "temp", Off: 5})
	check("place of the argument", p.Window.Aggregates[2].Expr.PosAt(5), config.Pos{Line: 25, Col: 71})
	check("place", p.At("steps[5].wasm.on_error"), config.Pos{Line: 21, Col: 11})
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	for _, path := range []string{"", "source.kafka.topics[1]", "window.tumbling", "no.such[3].path"} {
		if pos := p.At(path); pos.Line < 1 || pos.Col < 1 {
			t.Errorf("%q has no place", path)
		}
	}
}

// TestPosAt finds a word inside expressions of every scalar style, where the file has it.
func TestPosAt(t *testing.T) {
	p := parseFile(t, "styles.yml")
	data, err := os.ReadFile("testdata/styles.yml")
	if err != nil {
		t.Fatal(err)
	}
	var want []config.Pos
	for i, line := range strings.Split(string(data), "\n") {
		for off := 0; i > 0; {
			j := strings.Index(line[off:], "HERE")
			if j < 0 {
				break
			}
			off += j
			want = append(want, config.Pos{Line: i + 1, Col: 1 + len([]rune(line[:off]))})
			off++
		}
	}
	var got []config.Pos
	add := func(text config.Text) {
		i := strings.Index(text.Value, "HERE")
		if i < 0 {
			t.Fatalf("no HERE in %q", text.Value)
		}
		got = append(got, text.PosAt(i))
		if end := text.PosAt(len(text.Value) + 100); end.Line < text.Pos.Line {
			t.Errorf("%q ends at %v, before it begins", text.Value, end)
		}
	}
	for _, s := range p.Steps {
		if s.Filter != nil {
			add(*s.Filter)
		}
		for _, m := range s.Map {
			add(m.Expr)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestReferences(t *testing.T) {
	file := func(brokers, rows string) string {
		return "pipeline: x\nsource: {kafka: {topics: [\"${TOPIC}\"], group: \"" + brokers + "\"}, columns: {ts: \"timestamp[ms]\"}}\n" +
			"time: {column: ts}\nwindow: {tumbling: 1m, aggregates: {n: count()}}\nsink: {clickhouse: {}}\nbatch: {rows: " + rows + "}\n"
	}
	for in, want := range map[string]string{
		"a-${SITE}":               "a-seattle",
		"${env:SITE}":             "seattle",
		"${EMPTY:-none}":          "none",
		"${NOT_SET:-}x":           "x",
		"${NOT_SET:-a:-b}":        "a:-b",
		"$${SITE} $5 $":           "${SITE} $5 $",
		"${file:/run/secrets/ch}": "pass word",
		"${QUOTES}":               `x" }, evil: {"`,
	} {
		p, err := config.ParseEnv("x.yml", []byte(file(in, `"${ROWS}"`)), testEnv())
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if p.Source.Kafka.Group != want || p.Batch.Rows != 4096 || p.Source.Kafka.Topics[0].Name != "sensors" {
			t.Errorf("%s: got %q, want %q", in, p.Source.Kafka.Group, want)
		}
	}
}

func TestUse(t *testing.T) {
	p := parseFile(t, "styles.yml")
	err := p.Use(config.DefaultNode())
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) != 2 || errs[0].Line != 4 || !config.IsInvalid(err) {
		t.Fatalf("without brokers and URL: %v", err)
	}
	n := config.DefaultNode()
	if err := errors.Join(n.SetKafka("k1,k2:1"), n.SetClickHouse("clickhouse://c:9000/db")); err != nil {
		t.Fatal(err)
	}
	if err := p.Use(n); err != nil {
		t.Fatal(err)
	}
	if got := p.Source.Kafka.Brokers; !reflect.DeepEqual(got, []string{"k1:9092", "k2:1"}) {
		t.Errorf("brokers %v", got)
	}
	several, err := config.ParseNode("n", []byte(`kafka: {brokers: ["${LIST}", "d:4"]}`), config.Env{
		Lookup: func(n string) (string, bool) { return "a:1, b,[::1]:3", n == "LIST" },
	})
	if err != nil || strings.Join(several.Kafka.Brokers, " ") != "a:1 b:9092 [::1]:3 d:4" {
		t.Errorf("a reference for several brokers: %v, %v", several.Kafka.Brokers, err)
	}
	own := parseFile(t, "styles.yml")
	own.Source.Kafka.SASL = &config.SASL{User: "pipeline"}
	n.Kafka.SASL, n.Kafka.TLS = &config.SASL{User: "node"}, &config.TLS{CA: "node"}
	if err := own.Use(n); err != nil || own.Source.Kafka.SASL.User != "pipeline" || own.Source.Kafka.TLS.CA != "node" {
		t.Errorf("SASL %+v, TLS %+v, %v", own.Source.Kafka.SASL, own.Source.Kafka.TLS, err)
	}
	full := parseFile(t, "full.yml")
	if err := full.Use(n); err != nil || full.Source.Kafka.Brokers[0] != "a:1" {
		t.Errorf("node.yaml wins over the pipeline: %v, %v", full.Source.Kafka.Brokers, err)
	}
}

// TestCanonical changes a file piece by piece: what cannot change results must not change the canonical form, and the
// other way round.
func TestCanonical(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	canonical := func(old, replacement, digest string) []byte {
		t.Helper()
		s := strings.Replace(string(data), old, replacement, 1)
		if s == string(data) && old != "" {
			t.Fatalf("%q is not in the file", old)
		}
		p, err := config.ParseEnv("full.yml", []byte(s), testEnv())
		if err != nil {
			t.Fatal(err)
		}
		return p.Canonical([]string{digest}, nil)
	}
	base := canonical("", "", "sha256:1")
	for _, c := range []struct{ old, replacement string }{
		{"a:1,b", "c:2"},
		{"host:9000", "elsewhere:9000"},
		{"ttl: 90d", "ttl: 1d, flush_every: 1s, table: t, schema: apply"},
		{"tags:", "late: {to: drop}\ntags:"},
		{"module: calibrate.wasm,", "module: calibrate.wasm, verify: 1/10,"},
		{"module: calibrate.wasm,", "module: calibrate.wasm, shadow: {module: other.wasm, sample: 1/10, config: {x: 1}, limits: {memory: 1MiB}},"},
		{"fuel_per_row: 20_000", "fuel_per_row: 20_000, deadline: 20s, log_lines: 1, log_rate: 1, tables: 10, module: 1MiB"},
		{"format: json", "# a comment\n  format: json"},
		{"b: 1, a: 2", "a: 2, b: 1"},
		{"calibrate.wasm", "elsewhere/calibrate.wasm"},
		{`topics: [sensors, "re:^sensors\\..*"]`, `topics: ["re:^sensors\\..*", sensors]`},
		{"tumbling: 10s", "tumbling: 10000ms"},
		{"tumbling: 10s", "tumbling: 10s\n  offset: 0s"},
		{"tumbling: 10s", "tumbling: 10s\n  compute: {x: 1 + 1}"},
		{"tumbling: 10s", "tumbling: 10s\n  rollups: {hourly: {every: 1h}, sites: {every: 10s, by: [site]}}"},
		{"tumbling: 10s", "hopping: {size: 10s, every: 10s}"},
		{`mechanism: plain, user: u`, `mechanism: plain, user: other`},
	} {
		if got := canonical(c.old, c.replacement, "sha256:1"); !bytes.Equal(got, base) {
			t.Errorf("%s changes the revision:\n%s\n%s", c.replacement, got, base)
		}
	}
	for _, c := range []struct{ old, replacement string }{
		{"line-temperature", "other"},
		{"[sensors,", "[sensors2,"},
		{"device: string", "device: string?"},
		{"payload.temp", "temp"},
		{"epoch: s", "epoch: us"},
		{"max_out_of_order: 2s", "max_out_of_order: 3s"},
		{"allowed_lateness: 1m", "allowed_lateness: 2m"},
		{"max_jump: 1h", "max_jump: 2h"},
		{"temp > -40", "temp > -41"},
		{"/ 5 + 32", "/ 5 + 33"},
		{"drop: [a, b]", "drop: [a]"},
		{"old: new", "old: newer"},
		{"temp: float32", "temp: float32?"},
		{"offset: 0.4", "offset: 0.5"},
		{"fuel_per_row: 20_000", "fuel_per_row: 20_001"},
		{"fuel_per_row: 20_000", "fuel_per_row: 20_000, stack: 2MiB"},
		{"memory: 64MiB", "memory: 65MiB"},
		{"memory: 64MiB", "memory: 64MiB, expansion: 2"},
		{"memory: 64MiB", "memory: 64MiB, output: 1MiB"},
		{"tags:", "batch: {rows: 10}\ntags:"}, // there is an operator
		{"tumbling: 10s", "tumbling: 20s"},
		{"tumbling: 10s", "tumbling: 10s\n  offset: 1s"},
		{"tumbling: 10s", "hopping: {size: 10s, every: 5s}"},
		{"[site, device]", "[device, site]"},
		{"avg(temp)", "sum(temp)"},
		{"tls: true", "max_record: 2MiB"},
	} {
		if got := canonical(c.old, c.replacement, "sha256:1"); bytes.Equal(got, base) {
			t.Errorf("%s does not change the revision", c.replacement)
		}
	}
	if bytes.Equal(canonical("", "", "sha256:2"), base) {
		t.Error("another module does not change the revision")
	}
	functions := func(yaml string, called map[string]string) []byte {
		t.Helper()
		p, err := config.ParseEnv("full.yml", append([]byte("functions: {f: {wasm: f.wasm"+yaml+"}, g: {wasm: g.wasm}}\n"), data...), testEnv())
		if err != nil {
			t.Fatal(err)
		}
		return p.Canonical([]string{"sha256:1"}, called)
	}
	f := map[string]string{"f": "sha256:2"}
	if !bytes.Equal(functions("", nil), base) {
		t.Error("functions that are not called change the revision")
	}
	called := functions("", f)
	if bytes.Equal(called, base) {
		t.Error("a function does not change the revision")
	}
	if !bytes.Equal(functions(", on_error: stop, limits: {deadline: 1s}", f), called) {
		t.Error("what decides about no value changes the revision")
	}
	for _, other := range [][]byte{
		functions(", config: {x: 1}", f), functions(", limits: {memory: 1MiB}", f), functions("", map[string]string{"f": "sha256:3"}),
		functions("", map[string]string{"g": "sha256:2"}), functions("", map[string]string{"f": "sha256:2", "g": "sha256:2"}),
	} {
		if bytes.Equal(other, called) {
			t.Errorf("another function does not change the revision: %s", other)
		}
	}
	plain := parseFile(t, "styles.yml")
	before := plain.Canonical(nil, nil)
	if plain.Batch.Rows++; !bytes.Equal(plain.Canonical(nil, nil), before) {
		t.Error("the size of batches changes the revision of a pipeline without operators")
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"10s": 10 * time.Second, "1h30m": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour,
		"1.5d": 36 * time.Hour, "0": 0, "500ms": 500 * time.Millisecond,
	} {
		if got, err := config.ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "10", "-1s", "+1s", "s", "d", "1dd", "1e3d", "infd", "9999999999d", "1d-1s", "106751d24h", "10 s"} {
		if got, err := config.ParseDuration(in); err == nil {
			t.Errorf("%q gives %v", in, got)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Second: "10s", 90 * time.Minute: "1h30m", time.Hour: "1h", 48 * time.Hour: "2d", 0: "0s"} {
		if got := config.FormatDuration(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{
		"64MiB": 64 << 20, "64Mi": 64 << 20, "1GB": 1e9, "512k": 512e3, "4096": 4096, "4096B": 4096, "1.5 KiB": 1536, "1TiB": 1 << 40, "2m": 2e6,
	} {
		if got, err := config.ParseSize(in); err != nil || got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1e3", "0x10", "inf", "99999999TiB", "1 2", "1MiBs", "1..2"} {
		if got, err := config.ParseSize(in); err == nil {
			t.Errorf("%q gives %d", in, got)
		}
	}
	for n, want := range map[int64]string{64 << 20: "64MiB", 1000: "1000B", 0: "0B", 3 << 10: "3KiB"} {
		if got := config.FormatSize(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"window", "tags", "brokers", "int64", "earliest"}
	for typed, want := range map[string]string{"windw": "window", "WINDOW": "window", "wnidow": "window", "int": "int64", "broker": "brokers", "zzz": "", "": ""} {
		if got := config.Nearest(typed, names); got != want {
			t.Errorf("%q is near %q, want %q", typed, got, want)
		}
	}
}

func TestWasmLimits(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	const old = "limits: {memory: 64MiB, fuel_per_row: 20_000}"
	parse := func(limits string) *config.Wasm {
		t.Helper()
		s := strings.Replace(string(data), old, limits, 1)
		p, err := config.ParseEnv("full.yml", []byte(s), testEnv())
		if err != nil || s == string(data) {
			t.Fatal(err)
		}
		return p.Steps[len(p.Steps)-1].Wasm
	}
	for in, want := range map[string]int64{"1/1000": 1000, "1": 1, "1/1": 1, "0": 0, "off": 0, "false": 0, `"1/20"`: 20} {
		if got := parse("verify: " + in).Verify; got != want {
			t.Errorf("verify: %s gives %d", in, got)
		}
	}
	shadow := parse("shadow: {module: b.wasm, sample: 1/3, limits: {stack: 64KiB}}").Shadow
	if shadow.Module != "b.wasm" || shadow.File != "testdata/b.wasm" && shadow.File != "b.wasm" || shadow.Sample != 3 || shadow.Stack != 64<<10 || shadow.FuelPerRow != 50_000 || shadow.Config != nil {
		t.Errorf("shadow %+v", shadow)
	}
	if got := parse("shadow: {module: b.wasm}").Shadow.Sample; got != 1 {
		t.Errorf("a candidate gets 1/%d of the batches", got)
	}
	def := parse("name: d")
	if def.Memory != 64<<20 || def.FuelPerRow != 50_000 || def.ModuleSize != 8<<20 || def.Tables != 131072 || def.Expansion != 1024 ||
		def.Output != 16<<20 || def.LogLines != 16 || def.LogRate != 100 || def.Deadline != 10*time.Second {
		t.Errorf("defaults %+v", def)
	}
	w := parse("limits: {memory: 1MiB, fuel_per_row: 2, module: 3KiB, tables: 4, expansion: 5, output: 6KiB, log_lines: 7, log_rate: 8, deadline: 9s}")
	if w.Memory != 1<<20 || w.FuelPerRow != 2 || w.ModuleSize != 3<<10 || w.Tables != 4 || w.Expansion != 5 ||
		w.Output != 6<<10 || w.LogLines != 7 || w.LogRate != 8 || w.Deadline != 9*time.Second {
		t.Errorf("read %+v", w)
	}
}
