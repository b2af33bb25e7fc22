package authoring

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func columns(t testing.TB, text string) Columns {
	t.Helper()
	cols, err := ParseColumns(text)
	if err != nil {
		t.Fatal(err)
	}
	return cols
}

func TestParseColumns(t *testing.T) {
	cols := columns(t, "a: int64, b: string?\n# a comment, with: a comma\n\n c : timestamp[ms]\nd:e: bool,\n")
	if got := cols.Schema().String(); got != "a: int64, b: string?, c: timestamp[ms], d:e: bool" {
		t.Error(got)
	}
	if cols[2].Epoch.String() != "ms" || cols[3].Path[0] != "d:e" {
		t.Errorf("%+v", cols)
	}
	if _, err := ParseColumns(strings.Repeat("a: int8\n", 2000)); err == nil || !strings.Contains(err.Error(), "over 1023") {
		t.Error(err)
	}
}

func TestInspect(t *testing.T) {
	cols := columns(t, "device: string, temp: float64?")
	for _, name := range []string{"severity", "severity-go"} {
		module := example(t, name)
		r, err := Inspect(t.Context(), name+".wasm", module, cols, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Refused != "" || r.Hint != "" || r.ABI != 1 || r.Size != len(module) || len(r.Digest) != 71 {
			t.Errorf("%+v", r)
		}
		if got := strings.Join(r.Output, ", "); got != "device: string, temp: float64?, severity: string" {
			t.Error(got)
		}
		required := 0
		for _, e := range r.Exports {
			if e.Role == "required" {
				required++
			}
			if e.Name == "weir_process" && e.Type != "(i32, i32, i32) -> (i32)" {
				t.Errorf("%+v", e)
			}
		}
		if required != 6 || r.Memory == nil || r.Memory.Min == 0 || r.Functions == 0 || r.CodeBytes == 0 || r.CodeBytes > r.Size {
			t.Errorf("%d required exports, %+v", required, r)
		}
		if len(r.Imports) == 0 || slices.ContainsFunc(r.Imports, func(i Import) bool { return !i.Offered || i.Type == "" }) {
			t.Errorf("%+v", r.Imports)
		}
		// Without columns it is not asked about them.
		if r, err = Inspect(t.Context(), name, module, nil, nil); err != nil || r.Refused != "" || r.ABI != 1 || r.Output != nil {
			t.Errorf("%v, %+v", err, r)
		}
		r, err = Inspect(t.Context(), name, module, columns(t, "a: int8"), nil)
		if err != nil || !strings.Contains(r.Refused, "float64") || r.ABI != 1 {
			t.Errorf("%v, %+v", err, r)
		}
	}
}

// TestInspectImports asks the host about functions: what it offers, what it does not, and another signature.
func TestInspectImports(t *testing.T) {
	i32 := func(n int) []byte { return bytes.Repeat([]byte{0x7f}, n) }
	for _, c := range []struct {
		module, name string
		sig          funcType
		why          string
	}{
		{"weir", "log", funcType{i32(3), nil}, ""},
		{"weir", "log", funcType{i32(2), nil}, "it is (i32, i32, i32) -> ()"},
		{"weir", "nothing", funcType{}, "it is not offered"},
		{"env", "memory_grow", funcType{}, "it is not offered"},
		{"wasi_snapshot_preview1", "fd_write", funcType{i32(4), i32(1)}, ""},
		{"wasi_snapshot_preview1", "sock_connect", funcType{i32(4), i32(1)}, "it is not offered"},
		{"a", "b", funcType{i32(100), nil}, "no function that is offered has so many parameters"},
	} {
		i := Import{Module: c.module, Name: c.name, Kind: "function", sig: c.sig}
		r := &Report{Imports: []Import{i}}
		if err := r.probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := r.Imports[0]; got.Why != c.why || got.Offered != (c.why == "") {
			t.Errorf("%s.%s: %+v", c.module, c.name, got)
		}
		// What the probe is made of can be read back.
		m, err := readSections(probeModule(&i))
		if err != nil || len(m.imports) != 1 || m.imports[0].Name != c.name || len(m.exports) != 6 {
			t.Errorf("%+v, %v", m, err)
		}
	}
}

func TestInspectDamaged(t *testing.T) {
	module := example(t, "calibrate")
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"empty":     {nil, "not a Wasm module"},
		"text":      {[]byte("int main() {}"), "not a Wasm module"},
		"component": {[]byte("\x00asm\x0d\x00\x01\x00"), "component"},
		"cut":       {module[:len(module)/2], "cut short"},
		"nothing":   {module[:8], "memories"},
	} {
		r, err := Inspect(t.Context(), name, c.module, nil, nil)
		if err != nil || !strings.Contains(r.Refused, c.want) {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	// A name that would move the cursor of a terminal.
	i := Import{Module: "a\x1b[2J", Name: strings.Repeat("ü", 300), Kind: "function"}
	m, err := readSections(probeModule(&i))
	if err != nil || m.imports[0].Module != `"a\x1b[2J"` || !strings.HasSuffix(m.imports[0].Name, "…") || len(m.imports[0].Name) > 250 {
		t.Errorf("%+v, %v", m.imports, err)
	}
}

// FuzzSections reads anything without a panic, and keeps a bounded part.
func FuzzSections(f *testing.F) {
	f.Add(example(f, "calibrate"))
	f.Add(probeModule(&Import{Module: "weir", Name: "log"}))
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x02\x80\x80\x80\x80\x08"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readSections(data)
		if m == nil || len(m.imports) > maxListed || len(m.exports) > maxListed || len(m.types) > maxListed {
			t.Errorf("%+v, %v", m, err)
		}
		for _, i := range m.imports {
			if len(i.Type) > 2000 || strings.ContainsRune(i.Name, '\x1b') {
				t.Errorf("%+v", i)
			}
		}
	})
}

// TestMeasure: what a row costs is of the kernel's size, on made up rows and on given ones, and features are those of its
// compiler.
func TestMeasure(t *testing.T) {
	cols := columns(t, "device: string, temp: float64?")
	for name, features := range map[string]string{"calibrate": "bulk-memory", "calibrate-rust": "bulk-memory"} {
		module := example(t, name)
		r := &Report{File: name + ".wasm"}
		r.FindFeatures(t.Context(), module)
		if got := strings.Join(r.Features, " "); got != features {
			t.Errorf("%s uses %q, want %q", name, got, features)
		}
		for _, rows := range [][]string{nil, {`{"device": "a", "temp": 1}`, `{"device": "b", "temp": null}`}} {
			if err := r.Measure(t.Context(), module, cols, nil, rows, "these"); err != nil {
				t.Fatal(err)
			}
			if f := r.Fuel; f.Problem != "" || f.PerRow < 2 || f.PerRow > 100 || f.Rows != fuelRows || f.From != "these" {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	r := &Report{}
	r.FindFeatures(t.Context(), []byte("not Wasm"))
	if r.Features != nil {
		t.Error(r.Features)
	}
}
