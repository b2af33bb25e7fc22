package config_test

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestRecordedCount has a file be written again from what was recorded of its revision, with windows of so many rows.
func TestRecordedCount(t *testing.T) {
	broken, err := os.ReadFile("testdata/window_count_rows.bad.yml")
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Replace(broken, []byte("rows: 0"), []byte("rows: 70, timeout: 90m"), 1)
	p, err := config.ParseEnv("a.yml", data, testEnv())
	if err != nil {
		t.Fatal(err)
	}
	shown := string(p.Shown(nil, nil))
	file, err := config.Recorded(bytes.Replace(data, []byte("count: {rows: 70, timeout: 90m}"), []byte("tumbling: 5s"), 1), shown, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.ParseEnv("b.yml", file, testEnv())
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	if c := again.Window.Count; c == nil || *c != (config.Count{Rows: 70, Timeout: 90 * time.Minute}) || string(again.Shown(nil, nil)) != shown {
		t.Errorf("the window is %+v, in\n%s", again.Window, file)
	}
}
