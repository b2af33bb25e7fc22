package authoring

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example is the committed module of an example operator.
func example(t testing.TB, name string) []byte {
	t.Helper()
	b, err := ReadModule(filepath.Join("..", "..", "examples", "operators", name, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func guest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := ReadModule(filepath.Join("..", "..", "operators", "wasm", "testdata", name, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newSuite(t testing.TB, module []byte) *Suite {
	t.Helper()
	s := NewSuite(module, "op.wasm")
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

const calibrated = `Two rows.
-- config --
{"offset": 1}
-- schema --
device: string
temp: float64?
-- input --
{"device": "a", "temp": 1.5}
{"device": "b", "temp": null}
-- output --
{"temp": 2.5, "device": "a"}
{ "device": "b", "temp": null }
`

func TestGolden(t *testing.T) {
	s := newSuite(t, example(t, "calibrate"))
	for _, c := range []struct {
		name, from, to string // a change of the file
		diff           []string
	}{
		{"as it is", "", "", nil},
		{"another value", "2.5", "2.6", []string{`-{"device":"a","temp":2.6}`, `+{"device":"a","temp":2.5}`}},
		{"a row more", "-- output --\n", "-- output --\n{\"device\":\"x\"}\n", []string{`-{"device":"x"}`}},
		{"a row less", "{ \"device\": \"b\", \"temp\": null }\n", "", []string{`+{"device":"b","temp":null}`}},
		{"columns", "-- output --", "-- columns --\ndevice: string\ntemp: float64?\n-- output --", nil},
		{"wrong columns", "-- output --", "-- columns --\ndevice: string\ntemp: float64\n-- output --", []string{"-temp: float64", "+temp: float64?"}},
		{"an error that does not come", calibrated[strings.Index(calibrated, "-- output"):], "-- error --\nno\n", []string{"-no", "+-- output --"}},
		{"an error", "temp: float64?", "t: float64?", []string{"+refused the input schema or its configuration: no float64 column to calibrate"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(calibrated, c.from, c.to, 1)
			g, err := ParseGolden("g", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Run(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			d := g.Diff(got)
			if (d == "") != (c.diff == nil) {
				t.Fatalf("diff:\n%s", d)
			}
			for _, want := range c.diff {
				if !strings.Contains(d, "\n"+want) {
					t.Errorf("no %q in\n%s", want, d)
				}
			}
		})
	}
}

func TestGoldenPartOfAnError(t *testing.T) {
	g, err := ParseGolden("g", []byte("-- schema --\nx: int8\n-- error --\nno float64 column\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := newSuite(t, example(t, "calibrate")).Run(t.Context(), g)
	if err != nil || g.Diff(got) != "" || !strings.HasPrefix(got.Error, "refused") {
		t.Errorf("%v, %+v, diff %s", err, got, g.Diff(got))
	}
}

// TestGoldenUpdate writes a file anew: then it passes, and what the author wrote is as it was.
func TestGoldenUpdate(t *testing.T) {
	s := newSuite(t, example(t, "calibrate"))
	file := filepath.Join(t.TempDir(), "g.txtar")
	head := calibrated[:strings.Index(calibrated, "-- output")]
	run := func() (*Golden, Outcome) {
		g, err := ReadGolden(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Run(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		return g, got
	}
	for _, tail := range []string{"", "-- error --\nold\n", "-- columns --\nold: bool\n-- rejects --\n{}\n-- output --\n{}\n"} {
		if err := os.WriteFile(file, []byte(head+tail), 0o600); err != nil {
			t.Fatal(err)
		}
		g, got := run()
		if g.Pending() != (tail == "") || g.Diff(got) == "" {
			t.Errorf("pending %v, diff %q", g.Pending(), g.Diff(got))
		}
		if err := g.Update(got); err != nil {
			t.Fatal(err)
		}
		want := head
		if strings.Contains(tail, "columns") {
			want += "-- columns --\ndevice: string\ntemp: float64?\n"
		}
		want += "-- output --\n{\"device\":\"a\",\"temp\":2.5}\n{\"device\":\"b\",\"temp\":null}\n"
		if b, _ := os.ReadFile(file); string(b) != want {
			t.Errorf("after %q:\n%s\nwant\n%s", tail, b, want)
		}
		if g, got := run(); g.Pending() || g.Diff(got) != "" {
			t.Error(g.Diff(got))
		}
	}
}

// TestGoldenHostile runs modes of a guest that is made to misbehave: see operators/wasm/testdata/hostile/hostile.c.
func TestGoldenHostile(t *testing.T) {
	s := newSuite(t, guest(t, "hostile"))
	for _, c := range []struct{ mode, want, err string }{
		{"41", "-- output --\n{\"id\":12,\"name\":\"a\",\"v\":1}\n{\"id\":14,\"name\":\"c\",\"v\":null}\n" +
			"-- rejects --\n{\"line\":2,\"detail\":\"error: row 13\"}\n", ""},
		{"3", "-- rejects --\n{\"line\":1,\"detail\":\"trap: wasm error: unreachable\"}\n{\"line\":2,\"detail\":\"trap: wasm error: unreachable\"}\n" +
			"{\"line\":3,\"detail\":\"trap: wasm error: unreachable\"}\n", ""},
		{"43", "", "compiler, one batch (-) and compiler, one row per batch (+) give different results"},
		{"49", "", "compiler, one batch (-) and compiler, one row per batch (+) give different results"},
	} {
		text := "-- config --\n{\"mode\": " + c.mode + "}\n-- schema --\nid: int64\nname: string\nv: float64?\n-- input --\n" +
			"{\"id\":12,\"name\":\"a\",\"v\":1}\n{\"id\":13,\"name\":\"b\",\"v\":2}\n{\"id\":14,\"name\":\"c\",\"v\":null}\n"
		g, err := ParseGolden("g", []byte(text+c.want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Run(t.Context(), g)
		if c.err != "" {
			var disagree *DisagreeError
			if !errors.As(err, &disagree) || !strings.Contains(err.Error(), c.err) || disagree.Diff == "" {
				t.Errorf("mode %s: %v", c.mode, err)
			}
			continue
		}
		var disagree *DisagreeError
		if errors.As(err, &disagree) {
			t.Errorf("mode %s: %v\n%s", c.mode, err, disagree.Diff)
		} else if err != nil {
			t.Errorf("mode %s: %v", c.mode, err)
		} else if d := g.Diff(got); d != "" {
			t.Errorf("mode %s:\n%s", c.mode, d)
		}
	}
}

// TestGoldenTwice: what an operator remembers shows although there is one batch, and one row in it.
func TestGoldenTwice(t *testing.T) {
	s := newSuite(t, guest(t, "hostile"))
	g, err := ParseGolden("g", []byte("-- config --\n{\"mode\": 49}\n-- schema --\nid: int64\nname: string\nv: float64?\n-- input --\n{\"id\":12,\"name\":\"a\",\"v\":1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var disagree *DisagreeError
	if _, err := s.Run(t.Context(), g); !errors.As(err, &disagree) || disagree.Other != "compiler, all rows a second time" ||
		!strings.Contains(disagree.Diff, "in a fresh instance: row 0 (offset 0), column id: 14 here, 13 there") {
		t.Fatalf("%v\n%s", err, disagree.Diff)
	}
}

func TestParseGoldenProblems(t *testing.T) {
	for text, want := range map[string]string{
		"-- output --\n":                                          "-- schema -- is missing",
		"-- schema --\n":                                          "no columns",
		"-- schema --\na\n":                                       "column \"a\" has no type",
		"-- schema --\na: int\n":                                  "unknown type \"int\"",
		"-- schema --\na: int8\na: int8\n":                        "declared twice",
		"-- schema --\na: int8\n-- schema --\n":                   "there twice",
		"-- schema --\na: int8\n-- ouptut --\n":                   "-- ouptut -- is not part of a golden file: it has config",
		"-- schema --\na: int8\n-- config --\n{a}\n":              "config: not JSON",
		"-- schema --\na: int8\n-- error --\nx\n-- output --\n{}": "stands beside another result",
	} {
		if _, err := ParseGolden("g", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	g, err := ParseGolden("g.txtar", []byte("-- schema --\na: int8\n-- input --\n{\"a\":1}\n{\"a\":200}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSuite(t, guest(t, "hostile")).Run(t.Context(), g); err == nil || !strings.Contains(err.Error(), "g.txtar: input line 2 does not fit the schema: out_of_range") {
		t.Error(err)
	}
	if _, err := ReadGolden(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func FuzzParseGolden(f *testing.F) {
	f.Add([]byte(calibrated))
	f.Add([]byte("-- schema --\na: int8, b: string?\n# c\n-- error --\nx\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGolden("f", data)
		if err != nil {
			return
		}
		if d := g.Diff(g.Want); d != "" {
			t.Errorf("differs from itself: %s", d)
		}
	})
}

func TestDiff(t *testing.T) {
	split := func(s string) []string { return strings.Fields(s) }
	for _, c := range []struct{ want, got, diff string }{
		{"", "", ""},
		{"a b c", "a b c", ""},
		{"a", "b", "-a\n+b\n"},
		{"a b c", "a c", " a\n-b\n c\n"},
		{"a c", "a b c", " a\n+b\n c\n"},
		{"", "a", "+a\n"},
		{"1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 8 x", " ...\n 6\n 7\n 8\n-9\n+x\n"},
		{"x 1 2 3 4 5 6 7 8 y", "1 2 3 4 5 6 7 8", "-x\n 1\n 2\n 3\n ...\n 6\n 7\n 8\n-y\n"},
		{"a b a b a", "b a b", "-a\n b\n a\n b\n-a\n"},
	} {
		if got := diff(split(c.want), split(c.got)); got != c.diff {
			t.Errorf("%q, %q: %q, want %q", c.want, c.got, got, c.diff)
		}
	}
	long := make([]string, 10*maxDiff)
	for i := range long {
		long[i] = strings.Repeat("x", i%7)
	}
	if d := diff(long, long[1:]); strings.Count(d, "\n") > maxShown+1 || d == "" {
		t.Errorf("%d lines", strings.Count(d, "\n"))
	}
}

// TestExamples runs the golden files beside the examples, in every way.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "examples", "operators", "*", "testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, f := range files {
		name := filepath.Base(filepath.Dir(filepath.Dir(f)))
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		module, err := ReadModule(filepath.Join(filepath.Dir(filepath.Dir(f)), name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		g, err := ParseGolden(f, data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := newSuite(t, module).Run(t.Context(), g)
		if err != nil {
			t.Errorf("%s: %v", f, err)
		} else if d := g.Diff(got); g.Pending() || d != "" {
			t.Errorf("%s:\n%s", f, d)
		}
	}
}
