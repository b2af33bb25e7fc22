package simulation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/kafka"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/delivery"
	"github.com/weir-stream/weir/sink/spool"
)

var errDead = errors.New("the process is dead")

// process is one life of a node: everything weir has in a process, between boundaries of ours. When it is dead, nothing it
// does reaches the broker, the centre or the disk of its successor.
type process struct {
	w      *world
	n      *node
	client string // its name with the broker
	disk   *disk  // nil: no local store
	ctx    context.Context
	stop   context.CancelFunc

	engine   *engine.Engine
	delivery *delivery.Delivery
	store    *spool.Store

	gone   chan struct{} // closed when it is dead or has ended
	ended  chan struct{} // closed when all its goroutines have
	failed error         // why it ended; read after ended

	mu      sync.Mutex
	dead    bool                  // guarded by mu
	frozen  chan struct{}         // guarded by mu: closed when it goes on; nil while it runs
	cut     bool                  // guarded by mu: it cannot reach the broker
	stale   bool                  // guarded by mu: it was away for longer than its session
	deathIn int                   // guarded by mu: so many crossings of a boundary from now; 0: not
	powerIn bool                  // guarded by mu: that death is a power cut
	later   *engine.Finals        // guarded by mu: of a mutant, what it said it has told
	sending time.Duration         // guarded by mu: for how long it stops when it sends something to the centre; 0: not
	links   map[net.Conn]struct{} // guarded by mu
	goneOne sync.Once
	crossed atomic.Int64
}

// pass waits while the process is frozen.
func (p *process) pass() {
	for {
		p.mu.Lock()
		wait := p.frozen
		p.mu.Unlock()
		if wait == nil {
			return
		}
		<-wait
	}
}

func (p *process) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	return nil
}

func (p *process) isStale() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stale
}

// step is a crossing of a boundary, which may be the last thing the process does.
func (p *process) step() error {
	p.crossed.Add(1)
	p.mu.Lock()
	dies := false
	if p.deathIn > 0 {
		p.deathIn--
		dies = p.deathIn == 0
	}
	power := p.powerIn
	p.mu.Unlock()
	if dies {
		p.die(power)
	}
	return p.alive()
}

// dieAfter has the process die at the n-th crossing of a boundary.
func (p *process) dieAfter(n int, power bool) {
	p.mu.Lock()
	p.deathIn, p.powerIn = n, power
	p.mu.Unlock()
}

// die ends the process without a goodbye. With the power goes some of what was not synced.
func (p *process) die(power bool) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.dead = true
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
	p.mu.Unlock()
	if p.disk != nil {
		if power {
			p.w.count(&p.w.tally.powerCuts)
		}
		next := p.disk.after(power, p.w)
		p.n.setDisk(next)
	}
	p.hangUp()
	p.w.obituary(p.client)
	p.stop()
	p.goneOne.Do(func() { close(p.gone) })
}

// stopSending has the process stop on its next way to the centre, between the decision to send and sending.
func (p *process) stopSending(away time.Duration) {
	p.mu.Lock()
	p.sending = away
	p.mu.Unlock()
}

// onItsWay is where that happens.
func (p *process) onItsWay() {
	p.mu.Lock()
	away := p.sending
	p.sending = 0
	p.mu.Unlock()
	if away > 0 {
		p.w.stop(p, away)
	}
}

// freeze stops the process as SIGSTOP does: what it does waits at the next boundary.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead && p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

func (p *process) thaw(stale bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale = p.stale || stale
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// cutOff takes the broker away from the process; the centre stays in reach.
func (p *process) cutOff(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.mu.Unlock()
	if cut {
		p.hangUp()
	}
}

// hangUp ends all connections to the broker.
func (p *process) hangUp() {
	p.mu.Lock()
	links := p.links
	p.links = map[net.Conn]struct{}{}
	p.mu.Unlock()
	for l := range links {
		_ = l.Close()
	}
}

func (p *process) setStale() {
	p.mu.Lock()
	p.stale = true
	p.mu.Unlock()
}

// dial connects to a broker.
func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	p.pass()
	p.mu.Lock()
	refused := p.dead || p.cut
	p.mu.Unlock()
	if refused || p.w.brokerAway.Load() {
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, err
		}
		return nil, errors.New("connection refused")
	}
	conn, err := p.w.network.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: conn, p: p}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	return l, nil
}

// link is a connection to a broker.
type link struct {
	net.Conn
	p *process
}

func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.p.pass()
	return n, err
}

func (l *link) Write(b []byte) (int, error) {
	l.p.pass()
	if err := l.p.alive(); err != nil {
		return 0, err
	}
	if l.p.w.plan.durable {
		// A fetch of a partition under another leader epoch is answered at once, and the client asks again until it has heard of the
		// epoch. That may take a while, so the question must take some time, or none ever passes.
		time.Sleep(100 * time.Microsecond)
	}
	return l.Conn.Write(b)
}

func (l *link) Close() error {
	l.p.mu.Lock()
	delete(l.p.links, l)
	l.p.mu.Unlock()
	return l.Conn.Close()
}

// launch starts a process of a node. w.mu is not held: opening a store may take time.
func (w *world) launch(n *node, revision uint64) (*process, error) {
	n.lives++
	p := &process{w: w, n: n, client: clientName(n, n.lives), disk: n.getDisk(), gone: make(chan struct{}), ended: make(chan struct{}), links: map[net.Conn]struct{}{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	log := w.logOfNode(n)
	src, err := kafka.New(kafka.Config{
		Brokers: []string{w.address}, Topics: []string{topic}, Group: "weir", ClientID: p.client, InstanceID: n.instance,
		Protocol: w.plan.protocol, SessionTimeout: w.plan.session, Dial: p.dial,
		MaxWait: 5 * time.Second, // days pass, and brokers mostly have nothing
		Clock:   func() time.Duration { return time.Since(w.began) },
	}, log)
	if err != nil {
		return nil, err
	}
	c := &client{p: p, lease: src, opened: map[segment]bool{}}
	p.delivery, err = delivery.New(delivery.Config{Lease: src}, c, log)
	if err != nil {
		return nil, err
	}
	var local func(batch.Partition, uint64) sink.Local
	var kept func(uint64) ([]batch.Partition, error)
	if p.disk != nil {
		if p.store, err = p.disk.open(p, log); err != nil {
			return nil, fmt.Errorf("open the local store: %w", err)
		}
		local, kept = p.localOf, p.kept
	}
	var announce func(context.Context, *engine.Finals) error
	if w.plan.outputs {
		announce = p.announce
	}
	p.engine, err = engine.New(p.ctx, engine.Config{
		Pipeline: "sim", Node: n.name, Source: &source{Source: src, p: p}, Generation: w.generation(revision),
		Delivery: p.delivery, Coverage: c.Coverage, States: c.States, Local: local, WhenFull: w.plan.whenFull, Kept: kept, PartRows: func() int { return w.plan.partRows }, Announce: announce,
		FlushEvery: w.plan.flush, PlainPool: true, Chains: 2, MaxState: w.plan.maxState, MaxQueued: 256 << 10, ShutdownTimeout: 5 * time.Second, Log: log,
	})
	if err != nil {
		return nil, err
	}
	go p.run()
	return p, nil
}

// run is the life of the process.
func (p *process) run() {
	defer close(p.ended)
	ctx, stop := context.WithCancel(context.WithoutCancel(p.ctx))
	delivered := make(chan error, 1)
	go func() { delivered <- p.delivery.Run(ctx) }()
	err := p.engine.Run(p.ctx)
	for _, l := range p.engine.Status().Lanes {
		for range l.Early {
			p.w.hit(faultEarly)
		}
	}
	stop()
	err = errors.Join(err, <-delivered, p.engine.Close())
	if p.store != nil {
		err = errors.Join(err, p.store.Close())
	}
	if p.alive() == nil {
		p.failed = err
	}
	p.goneOne.Do(func() { close(p.gone) })
}

// node is a box of the site: it has a disk, and processes one after another.
type node struct {
	name     string
	instance string

	diskMu sync.Mutex
	disk   *disk // guarded by diskMu; nil: no local store

	// w.mu guards the rest.
	revision uint64
	wanted   bool
	delay    time.Duration // before the next process
	now      *process
	lives    int // of supervise alone
	kick     chan struct{}
}

func (n *node) setDisk(d *disk) {
	n.diskMu.Lock()
	n.disk = d
	n.diskMu.Unlock()
}

func (n *node) getDisk() *disk {
	n.diskMu.Lock()
	defer n.diskMu.Unlock()
	return n.disk
}

// supervise starts one process after another while the node is wanted.
func (w *world) supervise(n *node) {
	for {
		w.mu.Lock()
		wanted, delay := n.wanted, n.delay
		n.delay = w.plan.restart
		w.mu.Unlock()
		if !wanted {
			select {
			case <-n.kick:
				continue
			case <-w.life.Done():
				return
			}
		}
		if sleep(w.life, delay) != nil {
			return
		}
		w.mu.Lock()
		revision := n.revision
		w.mu.Unlock()
		p, err := w.launch(n, revision)
		w.mu.Lock()
		n.now = p
		if p != nil && (n.revision != revision || !n.wanted) { // it was told so while it started
			p.stop()
		}
		w.mu.Unlock()
		if errors.Is(err, sink.ErrFull) {
			w.note("%s does not start, and is started again: %v", n.name, err)
			_ = sleep(w.life, 5*time.Second)
			continue
		}
		if err != nil {
			w.wrong("%s does not start: %v", n.name, err)
			return
		}
		w.background.Go(func() { <-p.ended })
		<-p.gone
		if err := p.alive(); err == nil {
			<-p.ended
			if p.failed != nil {
				w.note("%s ended: %v", n.name, p.failed)
				w.count(&w.tally.failures)
			}
		}
	}
}
