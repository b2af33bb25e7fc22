package authoring

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme builds the operators that operators/sdk/README.md shows, and runs them: what an author reads first must work.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "operators", "sdk", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[Language][]string{}
	for _, m := range regexp.MustCompile("(?ms)^```(c|go|rust|ts)\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		lang := map[string]Language{"c": C, "go": Go, "rust": Rust, "ts": AssemblyScript}[m[1]]
		sources[lang] = append(sources[lang], m[2])
	}
	goldens := []string{
		"Degrees.\n-- schema --\nid: string\ntemp: float64?\n-- input --\n{\"id\":\"a\",\"temp\":100}\n{\"id\":\"b\",\"temp\":null}\n{\"id\":\"c\",\"temp\":-40}\n" +
			"-- output --\n{\"id\":\"a\",\"temp\":212}\n{\"id\":\"b\",\"temp\":null}\n{\"id\":\"c\",\"temp\":-40}\n",
		"Readings above a limit.\n-- config --\n{\"limit\": 2}\n-- schema --\nreadings: list<float64>?\n" +
			"-- input --\n{\"readings\":[1,2,3.5]}\n{\"readings\":null}\n{\"readings\":[]}\n{\"readings\":[9]}\n" +
			"-- output --\n{\"readings\":[3.5]}\n{\"readings\":null}\n{\"readings\":[]}\n{\"readings\":[9]}\n",
		"A function.\n-- schema --\na0: float64?\n-- input --\n{\"a0\":100}\n{\"a0\":null}\n-- output --\n{\"f\":212}\n{\"f\":null}\n",
	}
	// What the function's source takes the place of in the first operator's; in C it is whole.
	within := map[Language]*regexp.Regexp{
		Go: regexp.MustCompile(`(?s)func open.*`), Rust: regexp.MustCompile(`(?s)    fn open.*?\n    }\n`),
		AssemblyScript: regexp.MustCompile(`(?s)class.*?\n}\n`),
	}
	for lang, all := range sources {
		if len(all) != len(goldens) {
			t.Fatalf("%s: %d operators, want %d", lang, len(all), len(goldens))
		}
		if re := within[lang]; re != nil {
			place := re.FindStringIndex(all[0])
			if place == nil {
				t.Fatalf("%s: the first operator has no place for the function", lang)
			}
			all[2] = all[0][:place[0]] + all[2] + all[0][place[1]:]
		}
		for i, source := range all {
			t.Run(string(lang)+" "+[]string{"first", "lists", "function"}[i], func(t *testing.T) {
				if lang == Go && testing.Short() {
					t.Skip("compiles the Go runtime")
				}
				dir := filepath.Join(t.TempDir(), "op")
				files, err := New("step", lang, dir, "v1.2.3")
				if err != nil {
					t.Fatal(err)
				}
				replaced := false
				for _, f := range files {
					if strings.HasPrefix(f, "op.") || f == "main.go" || f == filepath.Join("src", "lib.rs") {
						if err := os.WriteFile(filepath.Join(dir, f), []byte(source), 0o600); err != nil {
							t.Fatal(err)
						}
						replaced = true
					}
				}
				if !replaced {
					t.Fatalf("no source among %v", files)
				}
				out, err := ModuleFile(dir)
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				_, err = Build(t.Context(), dir, out, &log)
				if err != nil {
					t.Log(log.String())
				}
				compiles(t, lang, err)
				module, err := ReadModule(out)
				if err != nil {
					t.Fatal(err)
				}
				g, err := ParseGolden("readme.txtar", []byte(goldens[i]))
				if err != nil {
					t.Fatal(err)
				}
				got, err := newSuite(t, module).Run(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				if d := g.Diff(got); d != "" {
					t.Error(d)
				}
			})
		}
	}
	if len(sources) != len(Languages()) {
		t.Errorf("operators in %d languages, of %d", len(sources), len(Languages()))
	}
}
