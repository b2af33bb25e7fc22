package kafka

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A broker that is away is said once in a while, each broker by itself, and not with every attempt.
func TestClientLogSaysItOnce(t *testing.T) {
	var out bytes.Buffer
	l := newClientLog(slog.New(slog.NewTextHandler(&out, nil)))
	now := time.Unix(1_700_000_000, 0)
	l.now = func() time.Time { return now }
	attempt := func(addr string) {
		l.Log(kgo.LogLevelWarn, "unable to open connection to broker", "addr", addr, "err", fmt.Errorf("refused"))
	}
	for range 100 {
		attempt("a:9092")
		attempt("b:9092")
		now = now.Add(sayAgain / 200)
	}
	if n := strings.Count(out.String(), "unable to open"); n != 2 {
		t.Errorf("two brokers were said %d times:\n%s", n, out.String())
	}
	now = now.Add(sayAgain)
	attempt("a:9092")
	if n := strings.Count(out.String(), "addr=a:9092"); n != 2 {
		t.Errorf("a broker that is still away was said %d times in all, want 2", n)
	}
	for i := range 10 * maxSaid {
		attempt(fmt.Sprint("c:", i))
	}
	if len(l.said) > maxSaid {
		t.Errorf("%d messages are kept, more than %d", len(l.said), maxSaid)
	}
}
