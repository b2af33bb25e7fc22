package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink"
)

// watchEvery is how often --watch looks at files. What changed is taken when it stayed the same from one look to the next.
const watchEvery = 400 * time.Millisecond

// running is a pipeline that runs, and the file it comes from.
type running struct {
	file   string
	runner *pipeline.Runner
	log    *slog.Logger

	// Of reloader.run alone.
	files   []string // whose contents decide: the pipeline's and those of its modules
	tried   []byte   // digest of the contents that run, or were refused
	stamp   string   // sizes and times at the last look
	settles []byte   // digest at the last look, if it is not known to be stable; nil otherwise
}

func newRunning(p *pipeline.Plan, r *pipeline.Runner, log *slog.Logger) *running {
	w := &running{file: p.Spec.File, runner: r, log: log.With("pipeline", p.Spec.Name)}
	w.uses(p.Spec)
	w.stamp = w.look()
	w.tried, _ = w.digest() // what cannot be read now counts as changed later
	return w
}

// uses notes which files a spec is made of.
func (w *running) uses(spec *config.Pipeline) {
	w.files = append(w.files[:0], w.file)
	steps := slices.Clone(spec.Steps)
	for i := range spec.Outputs {
		steps = append(steps, spec.Outputs[i].Steps...)
	}
	for i := range spec.Functions {
		w.files = append(w.files, spec.Functions[i].Wasm.File)
	}
	for i := range steps {
		if m := steps[i].Wasm; m != nil {
			w.files = append(w.files, m.File)
			if m.Shadow != nil {
				w.files = append(w.files, m.Shadow.File)
			}
		}
	}
	for _, a := range spec.Window.Aggregates {
		if a.Wasm != nil {
			w.files = append(w.files, a.Wasm.File)
		}
	}
}

// look is cheap, and differs when a file was written.
func (w *running) look() string {
	var b bytes.Buffer
	for _, f := range w.files {
		if info, err := os.Stat(f); err == nil {
			fmt.Fprintln(&b, f, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// digest reads the files.
func (w *running) digest() ([]byte, error) {
	h := sha256.New()
	for _, f := range w.files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(h, f, len(data))
		h.Write(data)
	}
	return h.Sum(nil), nil
}

// changed tells whether the files have new contents that stay as they are. A file that is being written, or is missing for
// a moment, is looked at again.
func (w *running) changed() bool {
	stamp := w.look()
	if stamp == w.stamp && w.settles == nil {
		return false
	}
	moved := stamp != w.stamp
	w.stamp = stamp
	sum, err := w.digest()
	if err != nil {
		sum = []byte{}
	}
	if moved || err != nil || !bytes.Equal(sum, w.settles) {
		w.settles = sum
		return false
	}
	w.settles = nil
	return !bytes.Equal(sum, w.tried)
}

// reloader gives running pipelines what their files say now.
type reloader struct {
	app     *app
	node    config.Node
	opts    pipeline.Options // of plans
	running []*running
	signals <-chan os.Signal // each reloads every pipeline
	watch   bool             // look at the files as well

	waits sync.WaitGroup // for swaps under way
}

// run reloads until ctx ends.
func (l *reloader) run(ctx context.Context) {
	defer l.waits.Wait()
	var tick <-chan time.Time
	if l.watch {
		t := time.NewTicker(watchEvery)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.signals:
			for _, w := range l.running {
				l.reload(ctx, w, "signal")
			}
		case <-tick:
			for _, w := range l.running {
				if w.changed() {
					l.reload(ctx, w, "changed")
				}
			}
		}
	}
}

// reload plans a file anew and swaps, beside what runs.
func (l *reloader) reload(ctx context.Context, w *running, why string) {
	began := time.Now()
	if w.file == "-" || w.file == "stdin" {
		w.log.Warn("not reloaded: the pipeline came from stdin")
		return
	}
	c, err := w.runner.Reload(ctx, func(ctx context.Context) (*pipeline.Plan, error) {
		spec, err := l.app.loadPipeline(w.file)
		if err != nil {
			return nil, err
		}
		w.uses(spec)
		w.stamp = w.look() // before the modules are read, so that a later change is seen
		w.tried, _ = w.digest()
		return l.app.planSpec(ctx, spec, l.node, withServers, l.opts)
	})
	var fixed *pipeline.RestartError
	switch {
	case errors.As(err, &fixed):
		w.log.Error("not reloaded, the running version goes on", "file", w.file, "why", why, "error", err, "hint", "stop and start weir: it goes on where it was")
		return
	case err != nil:
		w.log.Error("not reloaded, the running version goes on", "file", w.file, "why", why, "error", err)
		return
	}
	attrs := []any{"file", w.file, "why", why, "from", revision(c.From), "to", revision(c.To)}
	for _, m := range c.To.Modules {
		attrs = append(attrs, "module", fmt.Sprintf("%s sha256:%.16s", m.Step, m.Digest))
	}
	w.log.Info("swapping", append(attrs, "planned_in", time.Since(began).Round(time.Microsecond))...)
	l.waits.Go(func() {
		done, err := c.Wait(ctx)
		if err != nil {
			return // the run ends; each partition goes on in the next run where it was
		}
		w.log.Info("swapped", "revision", revision(c.To), "segments", done.Segments, "took", done.Took.Round(time.Microsecond))
	})
}

func revision(p *pipeline.Plan) string { return sink.RevisionText(p.Revision) }
