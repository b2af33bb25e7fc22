package wasm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/tools/txtar"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

// conformance is the suite that the library of every guest language must pass: cases, and a guest per language.
var conformance = filepath.Join("..", "sdk", "conformance")

// languages are those with a library, by the folder of their guest. The first one gives the rows that -update writes.
var languages = []string{"c", "go", "rust", "assemblyscript"}

func conformanceGuest(t testing.TB, language string) []byte {
	t.Helper()
	return guestFile(t, filepath.Join(conformance, "guests", language, "conformance.wasm"))
}

// conformanceCase is a case as operators/sdk/conformance/README.md describes it.
type conformanceCase struct {
	config  string
	schema  *batch.Schema
	stop    bool // on_error: stop
	same    bool // columns keep their addresses
	details bool // messages of dead letters are the same in all languages
	count   bool // the guest counts rows over its life, which is no operator that a node would run
	in      [][][]any
	failure string // of the module or of the last batch; empty is none
	log     string
}

func readCase(t *testing.T, a *txtar.Archive) *conformanceCase {
	t.Helper()
	c := &conformanceCase{details: true}
	for _, f := range a.Files {
		data := strings.TrimSpace(string(f.Data))
		lines := strings.Split(data, "\n")
		switch f.Name {
		case "config":
			c.config = data
		case "schema":
			c.schema = schemaOf(t, lines...)
		case "options":
			for _, o := range lines {
				switch o {
				case "stop":
					c.stop = true
				case "same address":
					c.same = true
				case "remembers":
					c.count = true
				case "details differ":
					c.details = false
				default:
					t.Fatalf("no option %q", o)
				}
			}
		case "in":
			rows := [][]any{}
			for _, l := range lines {
				if l != "" {
					rows = append(rows, readRow(t, c.schema, l))
				}
			}
			c.in = append(c.in, rows)
		case "error":
			c.failure = data
		case "log":
			c.log = data
		case "out":
		default:
			t.Fatalf("no section %q", f.Name)
		}
	}
	return c
}

// readRow reads a JSON array as values for column: floats as float64, or as the strings that JSON has no number for;
// integers of every size as int.
func readRow(t *testing.T, s *batch.Schema, line string) []any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var row []any
	if err := d.Decode(&row); err != nil || len(row) != len(s.Fields) {
		t.Fatalf("%s: %v, or not %d values", line, err, len(s.Fields))
	}
	for i, v := range row {
		typ := s.Fields[i].Type
		if list, ok := v.([]any); ok && typ.Kind == batch.List {
			for k := range list {
				list[k] = readValue(t, typ.Item, list[k])
			}
			continue
		}
		row[i] = readValue(t, typ.Kind, v)
	}
	return row
}

func readValue(t *testing.T, kind batch.Kind, v any) any {
	t.Helper()
	text, isNumber := v.(json.Number)
	if s, ok := v.(string); ok && kind == batch.Float64 {
		text, isNumber = json.Number(s), true
	}
	if !isNumber {
		return v
	}
	if kind == batch.Float32 || kind == batch.Float64 {
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return int(n)
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(n) // the same bits
}

var rejectDetail = regexp.MustCompile(`(?m)^(reject \d+ \w+): .*`)

// TestConformance runs every case with the guest of every language, in every engine and transport.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(conformance, "cases", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a := txtar.Parse(guestFile(t, file))
			c := readCase(t, a)
			var want []string
			for _, f := range a.Files {
				if f.Name == "out" {
					want = append(want, strings.TrimSpace(string(f.Data)))
				}
			}
			for _, language := range languages {
				for _, w := range ways {
					got, log, err := c.run(t, language, w.interpreter, w.transport)
					where := language + ", " + w.name
					if (err != nil) != (c.failure != "") || err != nil && !strings.Contains(err.Error(), c.failure) {
						t.Fatalf("%s: error is %v, want %q", where, err, c.failure)
					}
					if *update {
						updateCase(t, file, a, got)
						return
					}
					if !slices.Equal(got, want) {
						t.Fatalf("%s:\n%s\nwant\n%s", where, strings.Join(got, "\n--\n"), strings.Join(want, "\n--\n"))
					}
					if log != c.log {
						t.Fatalf("%s: log is\n%s\nwant\n%s", where, log, c.log)
					}
				}
			}
		})
	}
}

// updateCase writes an out section behind each in section.
func updateCase(t *testing.T, file string, a *txtar.Archive, got []string) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == "out" })
	for i := 0; i < len(a.Files); i++ {
		if a.Files[i].Name == "in" && len(got) > 0 {
			a.Files = slices.Insert(a.Files, i+1, txtar.File{Name: "out", Data: []byte(got[0] + "\n")})
			got = got[1:]
		}
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run gives the rows of each batch, what was logged meanwhile, and the failure, of the module or of a batch.
func (c *conformanceCase) run(t *testing.T, language string, interpreter bool, transport Transport) (out []string, log string, err error) {
	t.Helper()
	cfg := Config{
		Name: "1 wasm x", Module: conformanceGuest(t, language), Config: []byte(c.config), Interpreter: interpreter,
		Transport: transport, Cache: compiled, OnError: Reject, unchecked: c.count,
	}
	if c.stop {
		cfg.OnError = Stop
	}
	step, err := New(context.Background(), cfg, c.schema)
	if err != nil {
		return nil, "", err
	}
	defer step.Close()
	ch := &chain{}
	if ch.pool, err = batch.NewPool([]batch.RangeSpec{{Slots: 2, SlotSize: 64 << 10}, {Slots: 2, SlotSize: 64 << 10}}); err != nil {
		t.Fatal(err)
	}
	defer ch.pool.Close()
	defer ch.batch.Release()
	var lines bytes.Buffer
	handler := slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: onlyText})
	op, err := step.Open(context.Background(), operators.Env{Pool: ch.pool, Range: ch.pool.Range(1), Log: slog.New(handler)})
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	for _, rows := range c.in {
		b := ch.decode(t, c.schema, rows)
		before := slices.Clone(b.Cols)
		if err := op.Process(context.Background(), b); err != nil {
			return out, "", err
		}
		balance(t, b)
		text := strings.TrimSpace(render(b))
		if !c.details {
			text = rejectDetail.ReplaceAllString(text, "$1")
		}
		out = append(out, text)
		for i := range before {
			if c.same && (addressesOf(before[i]) != addressesOf(b.Cols[i]) || transport == Auto && op.(*operator).Usage().BytesCopied != 0) {
				t.Fatalf("%s: column %d moved", language, i)
			}
		}
	}
	return out, logText(lines.String()), nil
}

func onlyText(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.LevelKey || a.Key == slog.MessageKey {
		return a
	}
	return slog.Attr{}
}

var logLine = regexp.MustCompile(`(?m)^level=(\w+) msg="?(.*?)"?$`)

func logText(s string) string { return strings.TrimSpace(logLine.ReplaceAllString(s, "$1 $2")) }

func addressesOf(c batch.Column) [4]*byte {
	return [4]*byte{unsafe.SliceData(c.Validity), unsafe.SliceData(c.Offsets), unsafe.SliceData(c.ItemOffsets), unsafe.SliceData(c.Values)}
}

// TestConformanceRandom copies and filters batches of random rows of every type, some of them large, in every language:
// against what is computed here.
func TestConformanceRandom(t *testing.T) {
	fields := []string{
		"n: int64?", "b: bool?", "i8: int8?", "u16: uint16?", "i32: int32", "f32: float32?", "f64: float64?", "s: string?", "z: binary?", "t: string",
		"lf: list<float64>?", "ls: list<string>?", "lb: list<bool>?", "li: list<int16>?", "lz: list<binary>?", "lt: list<timestamp[ms]>?",
	}
	schema := schemaOf(t, fields...)
	rnd := rand.New(rand.NewPCG(7, 11))
	sizes := []int{1, 7, 8, 9, 63, 64, 65, 1000, 9000}
	if testing.Short() || raceEnabled {
		sizes = sizes[:len(sizes)-1]
	}
	for _, size := range sizes {
		rows := make([][]any, size)
		for i := range rows {
			rows[i] = randomRow(rnd, size)
		}
		for _, mode := range []string{"copy", "take"} {
			want := ""
			for _, language := range languages {
				for _, w := range ways {
					if w.interpreter && size > 100 {
						continue
					}
					ch := newChain(t, schema, 4<<20, Config{
						Module: conformanceGuest(t, language), Config: []byte(`{"mode": "` + mode + `"}`), Interpreter: w.interpreter,
						Transport: w.transport, MaxRows: 8192, OnError: Stop,
					})
					if want == "" {
						want = render(expected(ch.decode(t, schema, rows), mode))
					}
					b := ch.decode(t, schema, rows)
					if err := ch.ops[0].Process(context.Background(), b); err != nil {
						t.Fatalf("%s %d rows, %s, %s: %v", mode, size, language, w.name, err)
					}
					balance(t, b)
					if got := render(b); got != want {
						t.Fatalf("%s %d rows, %s, %s: differs: %s", mode, size, language, w.name, firstDifference(got, want))
					}
				}
			}
		}
	}
}

// TestConformanceSmallWindow gives guests less room than their output needs: they ask for fewer rows, and write nothing beyond it.
func TestConformanceSmallWindow(t *testing.T) {
	schema := schemaOf(t, "n: int64?", "s: string?", "b: bool?", "xs: list<float64>", "ss: list<string>?")
	rows := make([][]any, 4000)
	for i := range rows {
		rows[i] = []any{i % 5, fmt.Sprintf("a string that is not short, of row %d", i), i%3 == 0, []any{1.5, float64(i), -2.0}[:i%4], []any{"ab", "", "cd"}[:i%3]}
	}
	for _, mode := range []string{"copy", "take", "repeat", "upper", "count", "config", "explode", "lists"} {
		want := ""
		for _, language := range languages {
			for _, transport := range []Transport{Auto, Copy} {
				in, out := batch.RangeSpec{Slots: 1, SlotSize: 1 << 20}, batch.RangeSpec{Slots: 1, SlotSize: 64 << 10}
				pool, err := batch.NewPool([]batch.RangeSpec{in, out})
				if err != nil {
					t.Fatal(err)
				}
				text := `{"mode": "` + mode + `", "text": "a text that takes some room in each row"}`
				cfg := Config{Module: conformanceGuest(t, language), Config: []byte(text), OnError: Stop, Transport: transport}
				op, err := newStep(t, cfg, schema).Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(1), Log: testLog(t)})
				if err != nil {
					t.Fatal(err)
				}
				ch := &chain{pool: pool}
				b := ch.decode(t, schema, rows)
				if err := op.Process(context.Background(), b); err != nil {
					t.Fatalf("%s, %s: %v", mode, language, err)
				}
				balance(t, b)
				got := render(b)
				if want == "" {
					want = got
				}
				if got != want {
					t.Fatalf("%s, %s: differs: %s", mode, language, firstDifference(got, want))
				}
				b.Release()
				_ = op.Close()
				_ = pool.Close()
			}
		}
	}
}

// randomRow is a row in which a quarter of what can be null is. A few strings are long.
func randomRow(rnd *rand.Rand, size int) []any {
	text := func() any {
		n := rnd.IntN(24)
		if rnd.IntN(300) == 0 {
			n = 40000 / (1 + size/200)
		}
		var s strings.Builder
		for range n {
			s.WriteString([]string{"a", "Z", "0", "ß", "€", "😀", " "}[rnd.IntN(7)])
		}
		return s.String()
	}
	row := []any{
		rnd.IntN(1 << 20), rnd.IntN(2) == 0, rnd.IntN(256) - 128, rnd.IntN(1 << 16), int(rnd.Int32()), math.Float64frombits(rnd.Uint64()),
		rnd.NormFloat64(), text(), text(), text(),
	}
	row[5] = float64(float32(row[6].(float64)))
	for _, item := range []func() any{
		func() any { return rnd.NormFloat64() }, text, func() any { return rnd.IntN(2) == 0 }, func() any { return rnd.IntN(1<<16) - 1<<15 }, text,
		func() any { return rnd.IntN(1 << 40) },
	} {
		list := []any{}
		for range rnd.IntN(5) * rnd.IntN(2) {
			list = append(list, item())
		}
		row = append(row, list)
	}
	for i := range row {
		if i != 4 && i != 9 && rnd.IntN(4) == 0 {
			row[i] = nil
		}
	}
	return row
}

// expected changes a batch to what a mode makes of it.
func expected(b *batch.Batch, mode string) *batch.Batch {
	if mode != "take" {
		return b
	}
	kept := &batch.Batch{Schema: b.Schema, Cols: make([]batch.Column, len(b.Cols))}
	var arena batch.Arena
	var rows []int
	for i := range b.Rows {
		if b.Cols[0].Valid(i) && batch.As[int64](b.Cols[0].Values)[i]%2 == 0 {
			rows = append(rows, i)
		} else {
			kept.Filtered++
		}
	}
	kept.Rows = len(rows)
	for _, r := range rows {
		kept.Origin = append(kept.Origin, int32(r))
	}
	for f, field := range b.Schema.Fields {
		vals := make([]any, len(rows))
		for i, r := range rows {
			if b.Cols[f].Valid(r) {
				vals[i] = valueAt(&b.Cols[f], field.Type, r)
			}
		}
		kept.Cols[f] = column(field, vals, &arena)
	}
	return kept
}

func valueAt(c *batch.Column, t batch.Type, i int) any {
	switch t.Kind {
	case batch.List:
		items, list := c.Items(), []any{}
		for lo, hi := c.Range(i); lo < hi; lo++ {
			list = append(list, valueAt(&items, t.Items(), lo))
		}
		return list
	case batch.Timestamp:
		return int(batch.As[int64](c.Values)[i])
	case batch.Int16:
		return int(batch.As[int16](c.Values)[i])
	case batch.Bool:
		return c.Bit(i)
	case batch.Int8:
		return int(batch.As[int8](c.Values)[i])
	case batch.Uint16:
		return int(batch.As[uint16](c.Values)[i])
	case batch.Int32:
		return int(batch.As[int32](c.Values)[i])
	case batch.Int64:
		return int(batch.As[int64](c.Values)[i])
	case batch.Float32:
		return float64(batch.As[float32](c.Values)[i])
	case batch.Float64:
		return batch.As[float64](c.Values)[i]
	default:
		return string(c.Bytes(i))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i, shorten(g[i], 300), shorten(w[i], 300))
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}
