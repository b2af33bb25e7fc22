//go:build linux && (amd64 || arm64) && !weir_static

package libchdb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestEngine drives the binding in a process of its own: the library cannot be unloaded from this one.
func TestEngine(t *testing.T) {
	lib, err := Locate()
	if err != nil {
		if os.Getenv("WEIR_TEST_SKIP_CLICKHOUSE") == "1" {
			t.Skipf("SKIPPED, nothing about the engine was tested: %v", err)
		}
		t.Fatal(err)
	}
	if os.Getenv("WEIR_LIBCHDB_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEngine$", "-test.v")
		cmd.Env = append(os.Environ(), "WEIR_LIBCHDB_TEST_CHILD=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("engine test done")) {
			t.Fatalf("child: %v\n%s", err, out)
		}
		return
	}
	driveEngine(t, lib)
	fmt.Println("engine test done")
}

func driveEngine(t *testing.T, lib string) {
	e, err := Open(EngineConfig{Library: lib, Dir: t.TempDir(), Args: []string{"--max_threads=2"}})
	if err != nil {
		t.Fatal(err)
	}
	if e.Version() != Version {
		t.Errorf("version %s, want %s", e.Version(), Version)
	}
	c, err := e.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	query := func(sql string, params ...Param) string {
		t.Helper()
		r, err := c.Query(sql, "TSV", params)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		defer r.Close()
		return string(r.Bytes())
	}
	query("CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	i, err := c.Insert("INSERT INTO t (a, b)", "TSV", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"1\to", "ne\n2\ttwo", "\n"} {
		if err := i.Append([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := i.Done()
	i.Close()
	if err != nil || stats.RowsWritten != 2 {
		t.Fatalf("insert: %+v, %v", stats, err)
	}
	if got := query("SELECT b FROM t WHERE a = {x:UInt32}", Param{"x", "2"}); got != "two\n" {
		t.Errorf("got %q", got)
	}
	if _, err := c.Query("SELECT * FROM absent", "TSV", nil); err == nil || !strings.Contains(err.Error(), "Code: 60") {
		t.Errorf("got %v, want code 60", err)
	}
	s, err := c.Stream("SELECT number FROM numbers(200000)", "TSV", nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for {
		r, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		lines += bytes.Count(r.Bytes(), []byte("\n"))
		r.Close()
	}
	s.Close()
	if lines != 200000 {
		t.Errorf("streamed %d lines", lines)
	}
	// A nil dereference in Go must still be Go's: without keepSignals this hangs.
	for range 1000 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a nil dereference did not panic")
				}
			}()
			var p *int
			*p = 1
		}()
	}
}
