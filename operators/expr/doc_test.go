package expr

import (
	"os"
	"strings"
	"testing"
)

// TestDocument runs every example of EXPRESSIONS.md and looks for every function in its table.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("EXPRESSIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	b := sample()
	examples, code := 0, false
	documented := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "```") {
			code = !code
			continue
		}
		src, want, found := strings.Cut(line, " => ")
		if !code || !found {
			cells := strings.Split(line, " | ")
			if len(cells) != 4 || !strings.HasPrefix(line, "| `") || !strings.Contains(cells[0], "(") {
				continue
			}
			signature := strings.Trim(cells[0], "| `")
			name, _, _ := strings.Cut(signature, "(")
			documented[name] = signature + " " + cells[1]
			src, want = strings.Trim(cells[2], "`"), strings.Trim(cells[3], "| `")
			if !strings.Contains(src, name+"(") {
				t.Errorf("the example of %s is %s", name, src)
			}
		}
		examples++
		if got, _ := evalOne(t, strings.TrimSpace(src), b); got != want {
			t.Errorf("%s\n got %s\nthe document says %s", strings.TrimSpace(src), got, want)
		}
	}
	for _, f := range Functions() {
		if want := f.Signature + " " + f.Doc; documented[f.Name] != want {
			t.Errorf("the document has %q, the function is %q", documented[f.Name], want)
		}
		delete(documented, f.Name)
	}
	for name := range documented {
		t.Errorf("the document has a function %s that does not exist", name)
	}
	if examples < 80 {
		t.Errorf("only %d examples were found", examples)
	}
	for _, f := range b.Schema.Fields {
		if !strings.Contains(string(text), "| `"+f.Name+"` | "+f.Type.String()) {
			t.Errorf("the document does not show column %s as %s", f.Name, f)
		}
	}
}
