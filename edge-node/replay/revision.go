package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-stream/weir/sink"
)

// RevisionError says that what was meant is of another revision than the file.
type RevisionError struct {
	File   uint64
	Others []Other
	// Differs says in what the file differs from the revision of the first of Others, a line each; Why says why that is not known.
	Differs []string
	Why     string
}

// Error implements error.
func (e *RevisionError) Error() string {
	o := e.Others[0]
	text := fmt.Sprintf("segment %d of %s/%d is of revision %s, and the file is revision %s: its results may differ",
		o.Segment, o.Topic, o.Partition, o.Revision, sink.RevisionText(e.File))
	if n := len(e.Others) - 1; n > 0 {
		text += fmt.Sprintf("; so are %d more segments of others than the file's", n)
	}
	for _, d := range e.Differs {
		text += "\n  " + d
	}
	if e.Why != "" {
		text += "\n  what differs is not known: " + e.Why
	}
	return text + "\nrun it with the file it was run with, or with --recorded"
}

// maxSpecDifferences bounds what SpecDifferences lists.
const maxSpecDifferences = 12

// SpecDifferences lists in what two descriptions of revisions differ, a line each; see sink.Revision.
func SpecDifferences(recorded, file string) ([]string, error) {
	var then, now any
	for _, s := range []struct {
		text string
		to   *any
	}{{recorded, &then}, {file, &now}} {
		d := json.NewDecoder(strings.NewReader(s.text))
		d.UseNumber()
		if err := d.Decode(s.to); err != nil {
			return nil, fmt.Errorf("the description of a revision is not JSON: %w", err)
		}
	}
	var out []string
	specDifferences(&out, "", then, now)
	if n := len(out); n > maxSpecDifferences {
		out = append(out[:maxSpecDifferences], fmt.Sprintf("and %d more", n-maxSpecDifferences))
	}
	return out, nil
}

func specDifferences(out *[]string, path string, then, now any) {
	switch a := then.(type) {
	case map[string]any:
		if b, ok := now.(map[string]any); ok {
			keys := maps.Clone(a)
			maps.Copy(keys, b)
			for _, k := range slices.Sorted(maps.Keys(keys)) {
				specDifferences(out, strings.TrimPrefix(path+"."+k, "."), a[k], b[k])
			}
			return
		}
	case []any:
		if b, ok := now.([]any); ok {
			for i := range max(len(a), len(b)) {
				var x, y any
				if i < len(a) {
					x = a[i]
				}
				if i < len(b) {
					y = b[i]
				}
				specDifferences(out, fmt.Sprintf("%s[%d]", path, i), x, y)
			}
			return
		}
	}
	x, y := specText(then), specText(now)
	if x != y {
		*out = append(*out, fmt.Sprintf("%s: %s then, %s in the file", path, x, y))
	}
}

// maxSpecText bounds how much of a value is shown.
const maxSpecText = 120

func specText(v any) string {
	if v == nil {
		return "nothing"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "?" // it came out of JSON
	}
	s := strings.TrimSpace(b.String())
	if len(s) > maxSpecText {
		s = strings.ToValidUTF8(s[:maxSpecText], "") + "…"
	}
	return s
}
