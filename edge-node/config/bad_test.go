package config_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

var update = flag.Bool("update", false, "rewrite the expected files in testdata")

// testEnv is an environment that is the same everywhere.
func testEnv() config.Env {
	vars := map[string]string{"SITE": "seattle", "EMPTY": "", "TOPIC": "sensors", "ROWS": "4096", "QUOTES": `x" }, evil: {"`}
	files := map[string]string{"/run/secrets/ch": "pass word\n"}
	return config.Env{
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			if s, ok := files[filepath.ToSlash(path)]; ok {
				return []byte(s), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
	}
}

// TestBad reads every testdata/*.bad.yml and compares the errors with the .want file beside it, word for word.
func TestBad(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d cases, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.ParseEnv(filepath.Base(file), data, testEnv())
			checkErrors(t, data, err)
			wantFile := strings.TrimSuffix(file, ".yml") + ".want"
			if *update {
				if err := os.WriteFile(wantFile, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, readErr := os.ReadFile(wantFile)
			if readErr != nil {
				t.Fatalf("%v (go test -update writes it)", readErr)
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("a password is in the message")
			}
		})
	}
}

// checkErrors checks what holds for the errors of every file: they have a place, the place exists, and they are in order.
func checkErrors(t *testing.T, data []byte, err error) {
	t.Helper()
	var errs config.Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("want config.Errors, got %T: %v", err, err)
	}
	if len(errs) > 21 {
		t.Errorf("%d errors are too many to read", len(errs))
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(data), "\xef\xbb\xbf"))
	lines := strings.Split(text, "\n")
	last := 0
	for _, e := range errs {
		switch {
		case e.Line < 1 || e.Line > len(lines):
			t.Errorf("%v: there is no such line", e)
		case e.Col < 1 || e.Col > len([]rune(lines[e.Line-1]))+1:
			t.Errorf("%v: there is no such column in %q", e, lines[e.Line-1])
		case e.Line < last:
			t.Errorf("%v: out of order", e)
		case e.Msg == "":
			t.Errorf("%v: says nothing", e)
		case strings.ContainsAny(e.Error(), "\n\r\x00"):
			t.Errorf("%q is more than one line", e.Error())
		}
		last = e.Line
	}
}
