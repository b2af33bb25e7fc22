package pipeline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/metering"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
	"github.com/weir-stream/weir/sink/delivery"
)

// RunOptions change how a pipeline runs.
type RunOptions struct {
	Log *slog.Logger
	// StopAtEnd ends the run when every partition has been read to where it ended at the start.
	StopAtEnd bool
	// ShipSaved reads nothing: it ships what Store has of the pipeline, and ends.
	ShipSaved bool
	// Chains bounds the cores used; 0 is all.
	Chains int
	// Version is that of weir, for whoever asks what made a row.
	Version string
	// Store keeps what is not stored in ClickHouse yet on the node's disk; nil keeps nothing.
	Store *Store
	// Uplink is the link of the node, which all its pipelines share; nil has no budget.
	Uplink *Uplink
}

// Runner is a pipeline that runs. It is made by Plan.Open.
type Runner struct {
	log      *slog.Logger
	version  string // of weir
	sink     *clickhouse.Sink
	delivery *delivery.Delivery
	engine   *engine.Engine
	meter    *metering.Meter // nil where usage is not shipped
	resumes  bool            // the node has saved something of the pipeline
	store    *Store          // of the node; nil where it keeps nothing
	outputs  *outputs

	reloading sync.Mutex // held during Reload

	mu      sync.Mutex
	plan    *Plan // guarded by mu: the newest
	swaps   int64 // guarded by mu
	refused int64 // guarded by mu: reloads that changed nothing
	waiting error // guarded by mu: why the tables could not be checked yet
	checked bool  // guarded by mu

	fit chan struct{} // closed when the tables fit
}

// Open makes the stages. It connects to nothing. The runner closes the plan when it has no use for it any more.
func (p *Plan) Open(ctx context.Context, opts RunOptions) (*Runner, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := p.needsStore(opts.Store); err != nil {
		return nil, err
	}
	r := &Runner{plan: p, version: opts.Version, log: opts.Log.With("pipeline", p.Spec.Name), store: opts.Store, fit: make(chan struct{})}
	source, err := p.source(r.log)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	to := p.clickhouse
	to.Lease, to.ReceiveTimeout = source, source.LeaseRest()
	if opts.Uplink != nil {
		to.Conn = opts.Uplink.Conn
	}
	if r.sink, err = clickhouse.New(to, p.Table, r.log); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	r.sink.Describe(p.Describe(r.version))
	if r.delivery, err = delivery.New(delivery.Config{Lease: source, Link: opts.Uplink.Wait}, r.sink, r.log); err != nil {
		return nil, errors.Join(fmt.Errorf("delivery: %w", err), r.Close())
	}
	if r.resumes, err = opts.Store.has(p.Spec.Name); err != nil {
		return nil, errors.Join(fmt.Errorf("local store: %w", err), r.Close())
	}
	if r.outputs, err = p.openOutputs(ctx, r.log); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	first := p.generation()
	first.Close = p.Close
	r.engine, err = engine.New(ctx, engine.Config{
		Pipeline: p.Spec.Name, Node: p.Node.Node, Source: source, Generation: first,
		Delivery: r.delivery, Coverage: r.sink.Coverage, States: r.sink.States,
		Local: opts.Store.local(p), Kept: opts.Store.kept(p), WhenFull: whenFull[p.Spec.Sink.Spool.WhenFull], PartRows: r.delivery.PartRows,
		Announce: r.outputs.announce(), Rest: r.outputs.rest,
		FlushEvery: p.Spec.Sink.ClickHouse.FlushEvery,
		PlainPool:  p.plainPool, Chains: opts.Chains, OnGapStop: p.Spec.Source.Kafka.OnGap == config.GapStop,
		MaxState: p.Node.Limits.State, MaxQueued: p.Node.Limits.Queue, IdleAfter: p.Node.IdleAfter,
		StopAtEnd: opts.StopAtEnd, ShipSaved: opts.ShipSaved, Log: r.log,
	})
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if p.Node.UsageEvery > 0 {
		tags := map[string]string{}
		for _, t := range p.Spec.Tags {
			tags[t.Key] = t.Value
		}
		r.meter = metering.New(metering.Config{Every: p.Node.UsageEvery, Tags: tags, Used: func() []engine.Used { return r.outputs.used(r.engine.Used()) }, Store: r.sink, Log: r.log, Hold: func() bool {
			_, until := opts.Uplink.Wait(time.Now())
			return !until.IsZero()
		}})
	}
	return r, nil
}

// Close frees what Run used. Closing twice is fine.
func (r *Runner) Close() error {
	var errs []error
	if r.engine != nil {
		errs = append(errs, r.engine.Close())
	}
	if r.sink != nil {
		errs = append(errs, r.sink.Close())
	}
	if r.outputs != nil {
		errs = append(errs, r.outputs.close())
	}
	return errors.Join(errs...)
}

// Run checks the tables, then reads and ships until ctx ends. It waits for a ClickHouse that cannot be reached, and
// returns an error for one that needs a person.
func (r *Runner) Run(ctx context.Context) error {
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prepared := make(chan error, 1)
	go func() {
		err := r.prepare(ctx)
		if err != nil {
			cancel()
		}
		prepared <- err
	}()
	// Where the node has saved something of the pipeline, the tables were there before, and what is read is saved until they
	// are again: an outage is no reason to wait.
	if !r.resumes {
		select {
		case <-r.fit:
		case err := <-prepared:
			if err != nil {
				if whole.Err() != nil {
					return nil
				}
				return err
			}
			prepared <- nil
		}
	}
	stopMeter := r.startMeter(ctx)
	defer stopMeter() // when everything is counted
	// Delivery outlives the engine, which ships its last cuts while it stops.
	deliveryCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() {
		err := r.delivery.Run(deliveryCtx)
		if err != nil {
			cancel()
		}
		ended <- err
	}()
	err := r.engine.Run(ctx)
	stop()
	if derr := <-ended; derr != nil && !errors.Is(derr, context.Canceled) {
		// The engine fails because its delivery did: that is the cause.
		err = derr
	}
	cancel()
	if perr := <-prepared; perr != nil && !errors.Is(perr, context.Canceled) {
		err = perr
	}
	return err
}

// startMeter starts metering. What it returns ships the last of it and waits until that is done.
func (r *Runner) startMeter(ctx context.Context) (stop func()) {
	if r.meter == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.meter.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// prepare checks the tables, or makes them where the pipeline says so. It closes fit as soon as rows can be stored, and goes on to what
// only readers need.
func (r *Runner) prepare(ctx context.Context) error {
	fit := sync.OnceFunc(func() {
		r.log.Debug("start", "phase", "tables")
		close(r.fit)
	})
	check := func(ctx context.Context) error {
		err := r.sink.Check(ctx)
		if err == nil {
			fit()
		}
		return err
	}
	if r.current().Spec.Sink.ClickHouse.Schema == config.SchemaApply {
		check = func(ctx context.Context) error { return r.sink.Apply(ctx, fit) }
	}
	wait := 200 * time.Millisecond
	for {
		err := check(ctx)
		r.mu.Lock()
		first := r.waiting == nil
		r.waiting, r.checked = err, err == nil
		r.mu.Unlock()
		var e *sink.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &e) && e.Class != sink.Retry:
			return err
		case first:
			r.log.Warn("ClickHouse is not ready; waiting for it", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// Problems is why the pipeline is not doing its work, a line each; empty when it is.
func (r *Runner) Problems() []string {
	r.mu.Lock()
	waiting, checked := r.waiting, r.checked
	r.mu.Unlock()
	if !checked {
		if waiting != nil {
			return []string{"clickhouse: " + waiting.Error()}
		}
		return []string{"starting"}
	}
	var problems []string
	if st := r.delivery.Status(); !st.Ready && st.Err != nil {
		from := "clickhouse: "
		if errors.Is(st.Err, sink.ErrLease) {
			from = "kafka: "
		}
		problems = append(problems, from+st.Err.Error())
	}
	problems = append(problems, r.outputs.problems()...)
	if what := r.store.slow(); what != "" {
		problems = append(problems, "local store: the disk is slow: "+what)
	}
	st := r.engine.Status()
	if st.Held != "" {
		problems = append(problems, "memory: "+st.Held)
	}
	for _, p := range st.Problems {
		problems = append(problems, "kafka: "+p)
	}
	if !st.Assigned && len(problems) == 0 {
		problems = append(problems, "kafka: waiting for the group to assign partitions")
	}
	return problems
}

// Status is what the pipeline is doing.
func (r *Runner) Status() Status {
	r.mu.Lock()
	plan, swaps, refused := r.plan, r.swaps, r.refused
	r.mu.Unlock()
	return Status{
		Pipeline: plan.Spec.Name, Tags: plan.Spec.Tags, Revision: plan.Revision, Engine: r.engine.Status(),
		Delivery: r.delivery.Snapshot(), DeliveryStatus: r.delivery.Status(), Problems: r.Problems(),
		Swaps: swaps, Refused: refused, Outputs: r.outputs.status(), OutputSteps: r.outputs.steps(),
	}
}

// Status is what a pipeline is doing.
type Status struct {
	Pipeline       string
	Tags           []config.Tag
	Revision       uint64
	Engine         engine.Status
	Delivery       delivery.Snapshot
	DeliveryStatus delivery.Status
	Problems       []string
	// Swaps counts the plans that took the place of another while the pipeline ran, Refused those that could not.
	Swaps, Refused int64
	Outputs        []OutputStatus
	OutputSteps    []engine.StepStatus // of all outputs
}

// source plans the Kafka source.
func (p *Plan) source(log *slog.Logger) (*kafka.Source, error) {
	cfg, err := p.kafka()
	if err != nil {
		return nil, err
	}
	return kafka.New(cfg, log)
}

// kafka is what to read and as whom.
func (p *Plan) kafka() (kafka.Config, error) {
	k := p.Spec.Source.Kafka
	cfg := kafka.Config{
		Brokers: k.Brokers, Group: k.Group, ClientID: "weir-" + p.Node.Node, InstanceID: k.InstanceID,
		Protocol: string(k.Protocol), Start: string(k.Start.At), StartTime: k.Start.Time, MaxRecord: int(k.MaxRecord),
		SessionTimeout: k.SessionTimeout, AllowCompacted: k.AllowCompacted,
	}
	for _, t := range k.Topics {
		if t.Regex != nil {
			cfg.Topics = append(cfg.Topics, kafka.RegexPrefix+t.Name)
		} else {
			cfg.Topics = append(cfg.Topics, t.Name)
		}
	}
	if k.SASL != nil {
		cfg.SASL = &kafka.SASL{Mechanism: string(k.SASL.Mechanism), User: k.SASL.User, Password: k.SASL.Password.Reveal()}
	}
	if k.TLS != nil {
		var err error
		if cfg.TLS, err = tlsConfig(k.TLS); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

func tlsConfig(t *config.TLS) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s has no certificate in PEM form", t.CA)
		}
	}
	if t.Cert != "" {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// NewProbe makes the stages between source and sink, to measure what they cost.
func (p *Plan) NewProbe(ctx context.Context) (*engine.Probe, error) {
	return engine.NewProbe(ctx, engine.Config{Generation: p.generation(), PlainPool: p.plainPool})
}

// generation is what an engine runs of the plan.
func (p *Plan) generation() engine.Generation {
	var programs []engine.Program
	for _, a := range p.Spec.Window.Aggregates {
		if program := p.Programs[a.Name]; program != nil {
			programs = append(programs, engine.Program{Name: "window " + a.Name, Of: program})
		}
	}
	return engine.Generation{
		Revision: p.Revision, Widening: p.widening, Decoder: p.decoder, Steps: p.Steps,
		Window:    func() operators.Window { return p.Window.Open() },
		Longest:   p.Window.Longest(),
		EmitFinal: p.Window.EmitFinal,
		Undivided: p.Window.Undivided(),
		Programs:  programs,
		BatchRows: p.batchRows, SlotSize: p.slotSize, OwnWindows: len(p.Programs) > 0,
	}
}
