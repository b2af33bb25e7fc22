package wasm

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// TestLanguages holds the examples in every language that has no other test here to the golden rows of the C ones, in
// every engine and transport.
func TestLanguages(t *testing.T) {
	configs := map[string]string{
		"calibrate": `{"offset": 0.5, "scale": 2, "classes": {"oven": -4}}`,
		"severity":  `{"warning": 40, "critical": 75}`,
	}
	schema, rows := sensors(t, 36)
	for _, name := range []string{"calibrate", "severity"} {
		want := string(guestFile(t, filepath.Join("testdata", "golden", name+".txt")))
		for _, language := range []string{"rust", "assemblyscript"} {
			for _, w := range ways {
				t.Run(name+" "+language+" "+w.name, func(t *testing.T) {
					ch := newChain(t, schema, 64<<10, Config{
						Module: example(t, name+"-"+language), Config: []byte(configs[name]), Interpreter: w.interpreter, Transport: w.transport,
					})
					b := ch.decode(t, schema, rows)
					if err := ch.ops[0].Process(context.Background(), b); err != nil {
						t.Fatal(err)
					}
					balance(t, b)
					if got := render(b); got != want {
						t.Errorf("\n%s\nwant\n%s", got, want)
					}
				})
			}
		}
	}
}

// TestLanguagesLongLife runs many batches through one instance with little memory: what a call takes for itself is given
// back, by hand or by a collector.
func TestLanguagesLongLife(t *testing.T) {
	schema := schemaOf(t, "s: string")
	rows := [][]any{{"a"}, {"a string of some length"}, {"größer"}, {strings.Repeat("x", 700)}}
	for _, language := range []string{"rust", "assemblyscript"} {
		ch := newChain(t, schema, 64<<10, Config{
			Module: conformanceGuest(t, language), Config: []byte(`{"mode": "upper"}`), OnError: Stop, MemoryLimit: 1 << 20,
		})
		r := newRerun(t, ch, schema, rows)
		for range 20_000 {
			r.run(t)
		}
		if u := ch.ops[0].Usage(); u.Instances != 1 || u.Traps != 0 {
			t.Fatalf("%s: usage %+v", language, u)
		}
	}
}

// BenchmarkLanguages runs the examples in every language over 8192 rows, round by round in turn: ns per row, and as a multiple
// of C in the same run.
func BenchmarkLanguages(b *testing.B) {
	schema, rows := sensors(b, 8192)
	for _, c := range []struct{ name, config string }{
		{"calibrate", `{"offset": 0.5, "scale": 2}`},
		{"severity", `{"warning": 72}`}, // a quarter of the rows stays
	} {
		b.Run(c.name, func(b *testing.B) {
			var funcs []func()
			suffixes := []string{"", "-go", "-rust", "-assemblyscript"}
			for _, suffix := range suffixes {
				ch := newChain(b, schema, 4<<20, Config{Module: example(b, c.name+suffix), Config: []byte(c.config)})
				r := newRerun(b, ch, schema, rows)
				funcs = append(funcs, func() { r.run(b) })
			}
			t := interleave(b, funcs...)
			for i, language := range []string{"c", "go", "rust", "assemblyscript"} {
				b.ReportMetric(t.median(i)/float64(len(rows)), language+"-ns/row")
				b.ReportMetric(t.ratio(i, 0), language+"-xC")
			}
		})
	}
}
