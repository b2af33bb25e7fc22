package cli

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestProfilesStayOnLoopback(t *testing.T) {
	for _, c := range []struct {
		listen string
		remote bool
		ok     bool
	}{
		{"", false, true},
		{"", true, false},
		{"127.0.0.1:0", false, true},
		{"[::1]:6060", false, true},
		{"localhost:6060", false, true},
		{":6060", false, false},
		{"0.0.0.0:6060", false, false},
		{"10.0.0.7:6060", false, false},
		{"box-7:6060", false, false},
		{"0.0.0.0:6060", true, true},
		{"6060", false, false},
		{"6060", true, false},
	} {
		p := profiling{listen: c.listen, remote: c.remote}
		if err := p.check(&cobra.Command{}); (err == nil) != c.ok {
			t.Errorf("--pprof %q, remote %v: %v", c.listen, c.remote, err)
		}
	}
}

// TestProfiles takes a profile while the server runs, and finds nothing after its end.
func TestProfiles(t *testing.T) {
	var log strings.Builder
	p := profiling{listen: "127.0.0.1:0"}
	stop, err := p.start(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, addr, _ := strings.Cut(strings.TrimSpace(log.String()), "address=")
	resp, err := http.Get(addr + "/debug/pprof/heap")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || len(body) < 2 || body[0] != 0x1f || body[1] != 0x8b {
		t.Errorf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := http.Get(addr + "/debug/pprof/heap"); err == nil {
		t.Error("profiles are served after the end")
	}
	off := profiling{}
	if stop, err = off.start(slog.New(slog.DiscardHandler)); err != nil || stop() != nil {
		t.Error("without an address there is something to start")
	}
}
