package engine_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestRejectIsTold looks for what somebody sees whose file does not fit the topic: one line for each kind of dead letter, over all
// partitions, with a place to look at, and none for rows that are late.
func TestRejectIsTold(t *testing.T) {
	brokers, cl := broker(t)
	tr, c := &truth{}, newCentre()
	produce(t, cl, rand.New(rand.NewPCG(11, 1)), tr, 500)
	var lines bytes.Buffer // slog's handler locks it
	log := slog.New(slog.NewTextHandler(&lines, nil))
	e, l := start(t, setup{brokers: brokers, group: "g", centre: c, atEnd: true, log: log})
	if !toEnd(t, e, l) {
		t.Fatal("it did not come to the end")
	}
	check(t, c, tr)
	var told []string
	for line := range strings.Lines(lines.String()) {
		if strings.Contains(line, "a record was rejected") {
			told = append(told, line)
		}
	}
	if len(told) != 1 {
		t.Fatalf("told %d times of malformed records, want once:\n%s", len(told), strings.Join(told, ""))
	}
	for _, want := range []string{"level=WARN", "partition=" + topic + "/", "offset=", "step=decode", "reason=malformed", "detail=", "weir dlq ls"} {
		if !strings.Contains(told[0], want) {
			t.Errorf("no %s in %s", want, told[0])
		}
	}
}
