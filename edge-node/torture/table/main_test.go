package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	results, page := filepath.Join(dir, "results.jsonl"), filepath.Join(dir, "page.md")
	good := `{"name":"start","value":0.25,"unit":"s","bound":"at most","limit":1,"holds":true,"at":"2026-01-02T03:04:05Z","commit":"abc","detail":"the median of 5","load":"0.1 0.2 0.3","machine":"2 cores"}
{"name":"fault struck: power cut","value":3,"unit":"times","bound":"at least","limit":1,"holds":true,"at":"2026-01-02T04:04:05Z","commit":"abc","machine":"2 cores"}
{"name":"memory","value":5,"unit":"MiB","bound":"","limit":0,"holds":true,"at":"2026-01-02T03:14:05Z","commit":"abc","machine":"2 cores"}
`
	bad := `{"name":"throughput","value":0.5,"unit":"of without","bound":"at least","limit":0.8,"holds":false,"at":"2026-01-02T03:24:05Z","commit":"abc","machine":"2 cores"}
`
	for _, c := range []struct {
		lines  string
		failed bool
		page   []string
	}{
		{good, false, []string{
			"Written by `make x`", "- machine: 2 cores\n- commit: abc\n- from 2026-01-02 03:04 to 2026-01-02 04:04 UTC\n",
			"| start (the median of 5) | at most 1 | 0.25 s | ok | 0.1 0.2 0.3 |", "| memory |  | 5 MiB |  |  |", "1 kinds of simulated faults struck. 0 figures",
		}},
		{good + bad, true, []string{"| throughput | at least 0.8 | 0.5 of without | FAILED |  |", "1 figures did not keep"}},
	} {
		if err := os.WriteFile(results, []byte(c.lines), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		failed, err := run([]string{results}, page, "make x", &out)
		if err != nil || failed != c.failed {
			t.Errorf("failed is %v, %v; want %v", failed, err, c.failed)
		}
		if n := strings.Count(out.String(), "\n"); n != 1+strings.Count(c.lines, "\n") {
			t.Errorf("the table has %d lines:\n%s", n, out.String())
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range c.page {
			if !strings.Contains(string(text), want) {
				t.Errorf("the page has no %q:\n%s", want, text)
			}
		}
	}
	if _, err := run([]string{filepath.Join(dir, "absent")}, "", "", &strings.Builder{}); err == nil {
		t.Error("a file that is not there is no error")
	}
	if err := os.WriteFile(results, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run([]string{results}, page, "", &strings.Builder{}); err == nil {
		t.Error("no results are no error")
	}
}
