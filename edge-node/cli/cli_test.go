package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestScripts runs testdata/*.txtar. The comment of an archive says what it shows; its lines that begin with "$ " are
// commands, run in a folder with the archive's files. The file "want" is the transcript: stdout as it is, stderr behind
// "! ", and the exit code where it is not 0. The file "stdin" is the input of every command. $CLICKHOUSE is the URL of a
// database of the test's own, "env NAME=value" lines set the environment.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts, %v", err)
	}
	for _, file := range files {
		abs, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runScript(t, abs) })
	}
}

var serverError = regexp.MustCompile(`ClickHouse error (\d+): .* (\([A-Z_]+\)).*`)

func runScript(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var stdin, want []byte
	wantAt := -1
	for i, f := range archive.Files {
		switch f.Name {
		case "stdin":
			stdin = f.Data
		case "want":
			want, wantAt = f.Data, i
		default:
			if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.Name, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	vars := map[string]string{}
	if bytes.Contains(archive.Comment, []byte("$CLICKHOUSE")) {
		vars["CLICKHOUSE"] = embeddedtest.ClickHouse(t)
	}
	expand := func(s string) string {
		for name, value := range vars {
			s = strings.ReplaceAll(s, "$"+name, value)
		}
		return s
	}
	var transcript strings.Builder
	for line := range strings.Lines(string(archive.Comment)) {
		line = strings.TrimSuffix(line, "\n")
		if set, ok := strings.CutPrefix(line, "env "); ok {
			name, value, _ := strings.Cut(set, "=")
			t.Setenv(name, expand(value))
			continue
		}
		command, ok := strings.CutPrefix(line, "$ weir ")
		if !ok {
			continue
		}
		out, errs, code := runCommand(t, words(t, expand(command)), stdin)
		fmt.Fprintf(&transcript, "$ weir %s\n%s", command, out)
		for l := range strings.Lines(errs) {
			transcript.WriteString("! " + l)
		}
		if code != 0 {
			fmt.Fprintf(&transcript, "exit %d\n", code)
		}
	}
	got := transcript.String()
	for name, value := range vars {
		got = strings.ReplaceAll(got, config.NewSecret(value).URL(), "$"+name)
		got = strings.ReplaceAll(got, value, "$"+name)
	}
	// Servers of other versions word their errors in other ways.
	got = serverError.ReplaceAllString(got, "ClickHouse error $1: … $2")
	if got == string(want) {
		return
	}
	if !*update {
		t.Errorf("got\n%s\nwant\n%s", got, want)
		return
	}
	if wantAt < 0 {
		archive.Files, wantAt = append(archive.Files, txtar.File{Name: "want"}), len(archive.Files)
	}
	archive.Files[wantAt].Data = []byte(got)
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runCommand(t *testing.T, args []string, stdin []byte) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	a := &app{stdin: bytes.NewReader(stdin), stdout: &out, stderr: &errs, env: config.OSEnv()}
	code = a.main(ctx, args)
	return out.String(), errs.String(), code
}

// words splits a line as a shell does, with single and double quotes.
func words(t *testing.T, line string) []string {
	t.Helper()
	var out []string
	var word strings.Builder
	quote, in := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, in = r, true
		case quote == 0 && r == ' ':
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(r)
			in = true
		}
	}
	if quote != 0 {
		t.Fatalf("a quote is not closed in %s", line)
	}
	if in {
		out = append(out, word.String())
	}
	return out
}
