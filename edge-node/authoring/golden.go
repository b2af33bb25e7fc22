package authoring

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/weir-stream/weir/ingest/schema"
)

// maxGolden is the largest golden file that is read, in bytes: as much as fits a slot of the pool with ease.
const maxGolden = 8 << 20

// Golden is a golden file.
type Golden struct {
	File    string
	Config  []byte
	Columns schema.Columns
	GroupBy []string // columns of an aggregate's rows that it is not given
	Input   []string // JSON, without line ends
	Want    Outcome

	archive *txtar.Archive
}

// Outcome is what became of the input. Its parts are lines without line ends.
type Outcome struct {
	Columns []string // of the output; empty in a golden file that does not name them
	Output  []string
	Rejects []string
	Error   string // then the rest is empty
	// FuelPerRow is what the input took, about Wasm instructions. It is not part of a golden file.
	FuelPerRow float64
}

// given are the files of an archive that an author writes, and expected those that [Golden.Update] can write.
var (
	given    = []string{"config", "schema", "group_by", "input"}
	expected = []string{"columns", "output", "rejects", "error"}
)

// ReadGolden reads a golden file.
func ReadGolden(file string) (*Golden, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxGolden {
		return nil, fmt.Errorf("%s: %d bytes are over the limit of %d", file, st.Size(), maxGolden)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	g, err := ParseGolden(file, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return g, nil
}

// ParseGolden reads the text of a golden file.
func ParseGolden(file string, data []byte) (*Golden, error) {
	g := &Golden{File: file, archive: txtar.Parse(data)}
	seen := map[string][]byte{}
	for _, f := range g.archive.Files {
		if _, twice := seen[f.Name]; twice {
			return nil, fmt.Errorf("-- %s -- is there twice", f.Name)
		}
		if !slices.Contains(given, f.Name) && !slices.Contains(expected, f.Name) {
			return nil, fmt.Errorf("-- %s -- is not part of a golden file: it has %s, and %s", f.Name,
				strings.Join(given, ", "), strings.Join(expected, ", "))
		}
		seen[f.Name] = f.Data
	}
	if seen["schema"] == nil {
		return nil, errors.New("-- schema -- is missing: the input columns, a line \"name: type\" each")
	}
	var err error
	if g.Columns, err = ParseColumns(string(seen["schema"])); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if g.GroupBy, err = parseGroupBy(string(seen["group_by"]), g.Columns); err != nil {
		return nil, fmt.Errorf("group_by: %w", err)
	}
	if g.Config = bytes.TrimSpace(seen["config"]); len(g.Config) > 0 && !json.Valid(g.Config) {
		return nil, errors.New("config: not JSON")
	}
	g.Input = lines(seen["input"])
	g.Want = Outcome{
		Columns: lines(seen["columns"]), Output: lines(seen["output"]), Rejects: lines(seen["rejects"]),
		Error: strings.TrimSpace(string(seen["error"])),
	}
	if g.Want.Error != "" && len(g.Want.Output)+len(g.Want.Rejects)+len(g.Want.Columns) > 0 {
		return nil, errors.New("-- error -- stands beside another result: an operator that refuses has none")
	}
	return g, nil
}

// lines splits text; empty lines do not count.
func lines(text []byte) []string {
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// Pending tells whether the file says nothing yet about what comes out.
func (g *Golden) Pending() bool {
	return !slices.ContainsFunc(g.archive.Files, func(f txtar.File) bool { return slices.Contains(expected, f.Name) })
}

// Diff is how an outcome differs from the one the file has, as lines that begin with "-" (expected) and "+" (came out);
// empty when it does not. JSON is compared by its values: white space and the order of members do not matter. Of an error the
// file may have a part.
func (g *Golden) Diff(got Outcome) string {
	want := g.Want
	if len(want.Columns) == 0 {
		got.Columns = nil
	}
	if want.Error != "" && strings.Contains(got.Error, want.Error) {
		return ""
	}
	return diff(want.text(true), got.text(true))
}

// text is the outcome as the expected files of an archive, by line.
func (o Outcome) text(canonical bool) []string {
	var out []string
	part := func(name string, lines []string) {
		if len(lines) == 0 {
			return
		}
		out = append(out, "-- "+name+" --")
		for _, line := range lines {
			if canonical {
				line = canonicalJSON(line)
			}
			out = append(out, line)
		}
	}
	if o.Error != "" {
		part("error", strings.Split(o.Error, "\n"))
		return out
	}
	part("columns", o.Columns)
	part("output", o.Output)
	part("rejects", o.Rejects)
	return out
}

// canonicalJSON makes equal objects equal text: members sorted, numbers as they were written. Text that is not JSON stays.
func canonicalJSON(line string) string {
	if !strings.HasPrefix(line, "{") {
		return line
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil || d.More() {
		return line
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return line
	}
	return strings.TrimSpace(b.String())
}

// Update makes the outcome the one that the file expects, and writes the file. What the author wrote stays, comments and
// order included; columns are written where the file has them.
func (g *Golden) Update(got Outcome) error {
	parts := map[string]string{}
	join := func(lines []string) string { return strings.Join(append(slices.Clone(lines), ""), "\n") }
	switch {
	case got.Error != "":
		parts["error"] = got.Error + "\n"
	default:
		parts["output"] = join(got.Output)
		if len(got.Rejects) > 0 {
			parts["rejects"] = join(got.Rejects)
		}
		if len(g.Want.Columns) > 0 {
			parts["columns"] = join(got.Columns)
		}
	}
	files := g.archive.Files[:0:0]
	for _, f := range g.archive.Files {
		if !slices.Contains(expected, f.Name) {
			files = append(files, f)
		} else if text, ok := parts[f.Name]; ok {
			files = append(files, txtar.File{Name: f.Name, Data: []byte(text)})
			delete(parts, f.Name)
		}
	}
	for _, name := range expected {
		if text, ok := parts[name]; ok {
			files = append(files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	g.archive.Files, g.Want = files, got
	if err := os.WriteFile(g.File, txtar.Format(g.archive), 0o644); err != nil {
		return fmt.Errorf("update %s: %w", filepath.Base(g.File), err)
	}
	return nil
}
