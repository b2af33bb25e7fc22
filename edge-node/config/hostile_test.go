package config_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestHostile reads files made to cost time or memory out of proportion. Each must be an answer within a second or two
// and a few hundred MB, whatever it is.
func TestHostile(t *testing.T) {
	const size = 1 << 20
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)-1) }
	long := strings.Repeat("k", 10_000)
	for name, data := range map[string]string{
		"open brackets":       repeat("["),
		"open braces":         repeat("{a: "),
		"nested keys":         repeat("? "),
		"dashes":              repeat("- "),
		"one long line":       "pipeline: x\ntags: {" + repeat("a: b, ") + "}",
		"long line of keys":   "steps: [" + repeat("{drop: [a]},") + "]",
		"wide characters":     "pipeline: é\nsource: {kafka: {topics: [" + repeat("é, ") + "]}}",
		"one long word":       "pipeline: " + repeat("a"),
		"quotes":              "pipeline: \"" + repeat(`\n`) + "\"",
		"escaped breaks":      "pipeline: \"" + repeat("\\\n ") + "\"",
		"folded":              "pipeline: >\n" + repeat("  a\n\n"),
		"comments":            repeat("# x\n"),
		"comments in between": "pipeline: x\ntags:\n" + repeat("  # c\n  a: b\n"),
		"blank lines":         "pipeline: x\n" + repeat("\n") + "y: z",
		"anchors":             "tags: {" + repeat("a: &a b, ") + "}",
		"anchors and blanks":  "tags: [&a " + strings.Repeat("\n ", size/8) + "x, " + strings.Repeat("*a, ", size/16) + "]",
		"aliases of text":     "tags: [&a " + strings.Repeat("x", size/2) + ", " + strings.Repeat("*a, ", size/16) + "]",
		"long keys": "steps:\n  - wasm:\n      module: x\n      config: {" + long + ": {" + long + ": {" + long + ": [" +
			strings.Repeat("1,", size/4) + "]}}}",
		"references":       "pipeline: \"" + repeat("${QUOTES}") + "\"",
		"open references":  "pipeline: \"" + repeat("${") + "\"",
		"unknown keys":     repeat("k: 1\n") + "x: 2",
		"many unknown":     manyKeys(size),
		"question marks":   "pipeline: " + repeat("a?"),
		"documents":        repeat("---\n"),
		"long reference":   "pipeline: \"${" + strings.Repeat("x", size/2) + "}\"",
		"long alias":       "pipeline: *" + strings.Repeat("x", size/2),
		"long key twice":   strings.Repeat("x", size/3) + ": 1\n" + strings.Repeat("x", size/3) + ": 1",
		"long zero":        "window: {tumbling: " + strings.Repeat("0", size/2) + "s}",
		"long aggregate":   "window: {aggregates: {a: \"" + strings.Repeat("(", size/2) + "\"}}",
		"pattern":          "source: {kafka: {topics: [\"re:" + strings.Repeat("(a{1,100}){1,9}", 1000) + "\"]}}",
		"tags":             "tags: [" + repeat("!a b, ") + "]",
		"digits":           "batch: {rows: " + repeat("9") + "}",
		"config of digits": "steps: [{wasm: {module: m, config: [" + strings.Repeat("9", size/2) + "]}}]",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, err := config.ParseEnv("hostile.yml", []byte(data), testEnv())
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("it is taken for a pipeline")
			}
			checkErrors(t, []byte(data), err)
			if n := len(err.Error()); n > 40_000 {
				t.Errorf("the message has %d bytes", n)
			}
			if took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if alloc := (after.TotalAlloc - before.TotalAlloc) >> 20; alloc > 2000 {
				t.Errorf("allocated %d MB", alloc)
			}
			t.Logf("%v, %d MB", took.Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

func manyKeys(size int) string {
	var b strings.Builder
	for i := 0; b.Len() < size-20; i++ {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	return b.String()
}
