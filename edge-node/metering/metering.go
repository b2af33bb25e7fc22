// Package metering books what the steps of a pipeline use by hour, and ships it to the destination every so often. The
// pipeline package makes a Meter per running pipeline.
//
// It stands beside the pipeline and never in its way: it reads counters, and what cannot be stored is sent again with what
// comes next. A row holds all that an hour has used so far, so sending it twice changes nothing. What is not stored when a
// process is killed is lost: at most one interval, while the destination can be reached.
package metering

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/sink"
)

// Config is what a meter reads, where it ships to, and how often.
type Config struct {
	Every time.Duration // between two shipments; must be more than 0
	Tags  map[string]string
	// Used reads the counters: what each revision has used since the pipeline was opened. They only grow.
	Used  func() []engine.Used
	Store sink.UsageStore
	// Hold tells whether nothing may be stored now; then it is later. Nil never does.
	Hold func() bool
	Log  *slog.Logger
}

const (
	// maxRows bounds the rows that wait for a destination that is away: a year of a pipeline with two steps.
	maxRows = 32 << 10
	// shipTimeout bounds a shipment, and lastTimeout the one at the end, which the node waits for.
	shipTimeout = 30 * time.Second
	lastTimeout = 3 * time.Second
)

// Meter books and ships the usage of one pipeline. It is used by one goroutine.
type Meter struct {
	cfg     Config
	started time.Time
	run     uint64    // tells rows of this run from those of others
	hour    time.Time // that is booked on
	counted map[stepKey]sink.Used
	rows    map[rowKey]*row
	failing bool
}

// stepKey is a step of a revision.
type stepKey struct {
	revision     uint64
	step, digest string
}

// rowKey is the identity of a row within a pipeline of a node.
type rowKey struct {
	stepKey
	run  uint64
	hour int64 // seconds since 1970
}

type row struct {
	used            sink.Used
	version, stored uint64 // stored is the version that the destination is known to have
}

// New makes a meter that counts from nothing.
func New(cfg Config) *Meter {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Meter{
		cfg: cfg, started: time.Now(), run: rand.Uint64(),
		counted: map[stepKey]sink.Used{}, rows: map[rowKey]*row{},
	}
}

// Run ships until ctx ends, and then once more: whoever ends ctx does so when the pipeline has come to rest.
func (m *Meter) Run(ctx context.Context) {
	// The first shipment comes at some point of the interval, so that nodes that start together do not ship together.
	next := time.NewTimer(rand.N(m.cfg.Every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			m.book(time.Now())
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
			defer cancel()
			m.ship(last)
			return
		case now := <-next.C:
			m.book(now)
			attempt, cancel := context.WithTimeout(ctx, shipTimeout)
			m.ship(attempt)
			cancel()
			next.Reset(m.cfg.Every)
		}
	}
}

// book adds what was used since the last booking to the rows of the hour.
func (m *Meter) book(now time.Time) {
	hour := now.UTC().Truncate(time.Hour)
	if hour.Before(m.hour) {
		// The clock was set back. Rows of that hour may be stored and forgotten: these are others.
		m.run = rand.Uint64()
	}
	m.hour = hour
	for _, g := range m.cfg.Used() {
		for i := range g.Steps {
			s := &g.Steps[i]
			step := stepKey{g.Revision, s.Name, s.Digest}
			now := usedOf(s)
			more := sub(now, m.counted[step])
			if more == (sink.Used{}) {
				continue
			}
			m.counted[step] = now
			key := rowKey{step, m.run, hour.Unix()}
			r := m.rows[key]
			if r == nil {
				r = &row{}
				m.rows[key] = r
			}
			r.used = add(r.used, more)
			r.version++
		}
	}
	m.bound()
}

// bound forgets the oldest rows where too many wait.
func (m *Meter) bound() {
	over := len(m.rows) - maxRows
	if over <= 0 {
		return
	}
	for _, key := range m.keys()[:over] {
		delete(m.rows, key)
	}
	m.cfg.Log.Warn("usage is lost: it could not be stored for too long", "rows", over)
}

// keys lists the rows, oldest hour first.
func (m *Meter) keys() []rowKey {
	return slices.SortedFunc(maps.Keys(m.rows), func(a, b rowKey) int {
		return cmp.Or(
			cmp.Compare(a.hour, b.hour), cmp.Compare(a.run, b.run), cmp.Compare(a.revision, b.revision),
			cmp.Compare(a.step, b.step), cmp.Compare(a.digest, b.digest),
		)
	})
}

// ship sends the rows that changed. Those of hours that are over are forgotten once they are stored.
func (m *Meter) ship(ctx context.Context) {
	if m.cfg.Hold != nil && m.cfg.Hold() {
		return
	}
	var keys []rowKey
	var rows []sink.Usage
	for _, key := range m.keys() {
		r := m.rows[key]
		if r.version == r.stored {
			continue
		}
		keys = append(keys, key)
		rows = append(rows, sink.Usage{
			Revision: key.revision, Step: key.step, Digest: key.digest, Run: key.run, Started: m.started,
			Hour: time.Unix(key.hour, 0).UTC(), Version: r.version, Tags: m.cfg.Tags, Used: r.used,
		})
	}
	if err := m.cfg.Store.WriteUsage(ctx, rows); err != nil {
		if !m.failing {
			m.cfg.Log.Warn("cannot store usage; it is sent again with what comes next", "error", err, "rows", len(rows))
		}
		m.failing = true
		return
	}
	if m.failing {
		m.failing = false
		m.cfg.Log.Info("storing usage again")
	}
	for _, key := range keys {
		m.rows[key].stored = m.rows[key].version
	}
	for key := range m.rows {
		if key.hour != m.hour.Unix() || key.run != m.run {
			delete(m.rows, key)
		}
	}
}

func usedOf(s *engine.StepStatus) sink.Used {
	return sink.Used{
		Batches: s.Batches, RowsIn: s.In, RowsOut: s.Out, Rejected: s.Rejected, BytesIn: s.BytesIn, BytesOut: s.BytesOut,
		Copied: s.Usage.BytesCopied, Nanos: int64(s.Time), Fuel: s.Usage.Fuel, Instances: s.Usage.Instances,
		Traps: s.Usage.Traps, Retries: s.Usage.Retries, LogDropped: s.Usage.LogDropped,
	}
}

func add(a, b sink.Used) sink.Used {
	return sink.Used{
		Batches: a.Batches + b.Batches, RowsIn: a.RowsIn + b.RowsIn, RowsOut: a.RowsOut + b.RowsOut,
		Rejected: a.Rejected + b.Rejected, BytesIn: a.BytesIn + b.BytesIn, BytesOut: a.BytesOut + b.BytesOut,
		Copied: a.Copied + b.Copied, Nanos: a.Nanos + b.Nanos, Fuel: a.Fuel + b.Fuel, Instances: a.Instances + b.Instances,
		Traps: a.Traps + b.Traps, Retries: a.Retries + b.Retries, LogDropped: a.LogDropped + b.LogDropped,
	}
}

func sub(a, b sink.Used) sink.Used {
	return add(a, sink.Used{
		Batches: -b.Batches, RowsIn: -b.RowsIn, RowsOut: -b.RowsOut, Rejected: -b.Rejected, BytesIn: -b.BytesIn,
		BytesOut: -b.BytesOut, Copied: -b.Copied, Nanos: -b.Nanos, Fuel: -b.Fuel, Instances: -b.Instances,
		Traps: -b.Traps, Retries: -b.Retries, LogDropped: -b.LogDropped,
	})
}
