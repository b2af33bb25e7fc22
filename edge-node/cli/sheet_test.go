package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestColumns(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
	five := int64(5)
	for _, c := range []struct {
		typ        string
		value      any
		text, json string
		number     bool
	}{
		{"UInt64", uint64(math.MaxUint64), "18446744073709551615", "18446744073709551615", true},
		{"Nullable(Int64)", &five, "5", "5", true},
		{"Nullable(Int64)", (*int64)(nil), "NULL", "null", true},
		{"Int256", new(big.Int).Lsh(big.NewInt(1), 200), "1606938044258990275541962092341162602522202993782792835301376", "1606938044258990275541962092341162602522202993782792835301376", true},
		{"Float64", math.Inf(-1), "-Inf", "null", true},
		{"Float32", float32(0.1), "0.1", "0.1", true},
		{"Float64", 1e300, "1e+300", "1e+300", true},
		{"LowCardinality(Nullable(String))", "x<y>&", "x<y>&", `"x<y>&"`, false},
		{"String", "\xff", "\xff", `"` + "\ufffd" + `"`, false},
		{"DateTime64(3, 'UTC')", when, "2026-01-02 03:04:05.678", `"2026-01-02T03:04:05.678901Z"`, false},
		{"DateTime64(0)", when, "2026-01-02 03:04:05", `"2026-01-02T03:04:05.678901Z"`, false},
		{"Date32", when, "2026-01-02", `"2026-01-02"`, false},
		{"Array(String)", []string{"a", "b"}, `["a","b"]`, `["a","b"]`, false},
		{"Map(String, UInt8)", map[string]uint8{"b": 2, "a": 1}, `{"a":1,"b":2}`, `{"a":1,"b":2}`, false},
		{"Tuple(UInt8, String)", []any{uint8(1), nil}, "[1,null]", "[1,null]", false},
	} {
		col := newColumn("c", c.typ)
		var b bytes.Buffer
		if err := col.json(&b, c.value); err != nil {
			t.Error(err)
		}
		if got := col.text(c.value); got != c.text || b.String() != c.json || col.number != c.number {
			t.Errorf("%s: text %s, JSON %s, number %v; want %s, %s, %v", c.typ, got, &b, col.number, c.text, c.json, c.number)
		}
	}
}

// TestTableStreams writes more rows than decide the widths: the table must not keep them.
func TestTableStreams(t *testing.T) {
	var out bytes.Buffer
	s := newTableSheet(&out)
	cols := []column{newColumn("name", "String"), newColumn("n", "UInt64")}
	if err := s.begin(cols); err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		name := "row"
		if i == 4000 {
			name = strings.Repeat("w", 600)
		}
		if err := s.row([]any{name, uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if s.held != nil {
		t.Error("the table still holds rows")
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 5002 || lines[0] != "name    n" || lines[1] != "row     0" || lines[1000] != "row   999" {
		t.Errorf("%d lines, %q, %q, %q", len(lines), lines[0], lines[1], lines[1000])
	}
	if wide := lines[4001]; !strings.HasPrefix(wide, strings.Repeat("w", maxCell)+"…") || !strings.HasSuffix(wide, "4000") {
		t.Errorf("wide cell: %q", wide)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken") }

// TestSheetsReportWriteErrors writes each form into a stream that fails.
func TestSheetsReportWriteErrors(t *testing.T) {
	for name, s := range map[string]sheet{
		"table": newTableSheet(brokenPipe{}), "csv": newCSVSheet(brokenPipe{}),
		"json": newJSONSheet(brokenPipe{}, true), "jsonl": newJSONSheet(brokenPipe{}, false),
	} {
		err := s.begin([]column{newColumn("c", "String")})
		for i := 0; i < 5000 && err == nil; i++ {
			err = s.row([]any{strings.Repeat("x", 100)})
		}
		if err == nil {
			err = s.end()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzSheets writes any text in every form: the table keeps one line per row and no control characters, JSON and CSV can
// be read back.
func FuzzSheets(f *testing.F) {
	f.Add("plain", "x,\"y\"\n")
	f.Add("\x1b[31m\u009b", "\xff\xfe é \u2028")
	f.Fuzz(func(t *testing.T, name, value string) {
		write := func(s sheet, out *bytes.Buffer) string {
			cols := []column{newColumn(name, "String"), newColumn("n", "Int64")}
			if err := errors.Join(s.begin(cols), s.row([]any{value, int64(1)}), s.end()); err != nil {
				t.Fatal(err)
			}
			return out.String()
		}
		var table, js, lines, cs bytes.Buffer
		text := write(newTableSheet(&table), &table)
		if strings.Count(text, "\n") != 2 {
			t.Errorf("the table has other lines: %q", text)
		}
		for _, r := range text {
			if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) {
				t.Errorf("control character %U in %q", r, text)
			}
		}
		var rows []map[string]any
		if err := json.Unmarshal([]byte(write(newJSONSheet(&js, true), &js)), &rows); err != nil || len(rows) != 1 {
			t.Errorf("JSON: %v", err)
		}
		if out := write(newJSONSheet(&lines, false), &lines); strings.Count(out, "\n") != 1 || !json.Valid([]byte(out)) {
			t.Errorf("JSON lines: %q", out)
		}
		records, err := csv.NewReader(strings.NewReader(write(newCSVSheet(&cs), &cs))).ReadAll()
		if want := strings.ReplaceAll(value, "\r\n", "\n"); err != nil || len(records) != 2 || records[1][0] != want {
			t.Errorf("CSV: %q, %v", records, err)
		}
	})
}

func TestAnswersNothing(t *testing.T) {
	for sql, want := range map[string]bool{
		"SELECT 1": false, "create table x": true, " -- c\n# d\n/* e */ INSERT INTO x": true, "WITH 1 AS x SELECT x": false,
		"DROP\nTABLE x": true, "-- only a comment": false, "/* open": false, "": false, "settings": false, "SHOW TABLES": false,
	} {
		if got := answersNothing(sql); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}
