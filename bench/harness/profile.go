package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
)

// profile lets weir read the topic once more and keeps its profiles: of the CPU while it reads, and of the heap.
func (b *bench) profile(ctx context.Context, c workload.Case, s *stream, t *report.Throughput) error {
	r := t.Find("weir", 1)
	if r == nil || len(r.Rounds) == 0 {
		return nil
	}
	if err := os.MkdirAll(b.opts.Profile, 0o755); err != nil {
		return fmt.Errorf("make the folder for profiles: %w", err)
	}
	wall := 0.0
	for _, x := range r.Rounds {
		wall = max(wall, x.Wall)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(wall*float64(time.Second)))
	defer cancel()
	n, err := b.startNode(ctx, c, s, "profile", "", 1, "--pprof", "127.0.0.1:0")
	if err != nil {
		return err
	}
	err = b.keepProfiles(ctx, n, c.Name, int(math.Ceil(wall)), r)
	if x, stopped := n.interrupt(); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(x.stderr))
	} else if stopped != nil {
		return stopped
	}
	b.dropTables(ctx, n.task.Name)
	return nil
}

func (b *bench) keepProfiles(ctx context.Context, n *node, name string, seconds int, r *report.Result) error {
	addr, err := n.address(ctx, "serving profiles")
	if err != nil {
		return err
	}
	for _, p := range []struct{ kind, query string }{
		{"cpu", fmt.Sprintf("profile?seconds=%d", seconds)}, {"heap", "heap"},
	} {
		file := name + "." + p.kind + ".pprof"
		if err := fetch(ctx, "http://"+addr+"/debug/pprof/"+p.query, filepath.Join(b.opts.Profile, file)); err != nil {
			return err
		}
		r.Profiles = append(r.Profiles, file)
	}
	flame := name + ".cpu.svg"
	if err := drawFlame(filepath.Join(b.opts.Profile, name+".cpu.pprof"), filepath.Join(b.opts.Profile, flame), "CPU of weir, "+name); err != nil {
		b.note("%s: no flame graph: %v", name, err) // a run too short to be sampled
		return nil
	}
	r.Profiles = append(r.Profiles, flame)
	return nil
}

// drawFlame makes a flame graph of a profile.
func drawFlame(profile, to, title string) (err error) {
	in, err := os.Open(profile)
	if err != nil {
		return fmt.Errorf("draw a flame graph: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("draw a flame graph: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return report.WriteFlame(out, in, title)
}

// fetch keeps what is at a URL.
func fetch(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fmt.Errorf("fetch a profile: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("fetch a profile: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch a profile: %s answered %s", url, resp.Status)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("fetch a profile: %w", err)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		return fmt.Errorf("keep a profile: %w", err)
	}
	return nil
}
