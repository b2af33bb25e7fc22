// Package harness runs the benchmarks: it starts a broker and ClickHouse, or takes the user's, fills a topic per workload,
// and lets weir and the other contenders read it in turn, each a process of its own on cores of its own, over the real
// protocols. An answer that differs from the truth counts for nothing. What it found is a report.Document.
//
// Times on a machine that does other things, too, are noisy. So contenders take turns (A B A B, and not A A B B), and what
// is judged are ratios of things measured in the same round.
//
// edge-node/cli calls Run, as "weir bench". The process that calls it must be able to be an embedded broker and a
// contender (embedded.Child, contender.Child).
package harness

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/report"
	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/embedded"
	embeddedch "github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
	"github.com/weir-stream/weir/examples"
)

// Options say what to run.
type Options struct {
	// Weir is the binary that is measured. Self is the one that can be the servers and the other contenders; default Weir.
	Weir, Self string
	// Version is the version of weir, for the report.
	Version string
	// Workloads and Scenarios are what to run, by name; see Cases and Scenarios.
	Workloads, Scenarios []string
	// Events is how many records a workload has; 0 leaves it to the workload.
	Events int64
	// Rounds is how often everything is measured. At least 1.
	Rounds     int
	Partitions int32
	Seed       uint64
	// TwoCores measures on two cores as well, where the machine has them.
	TwoCores bool
	// Brief measures workloads other than W1 and W2 on one core alone, in three rounds at most.
	Brief bool
	// Live is how long the runs at a given load take; soak takes Soak.
	Live, Soak time.Duration
	// Brokers and ClickHouse are the user's; empty ones are started for the run.
	Brokers    []string
	ClickHouse string
	// Profile is a folder for profiles of weir, or empty.
	Profile string
	// Contenders are run beside weir, the bare consumer and the programs written by hand.
	Contenders []contender.Contender
	// Progress is told what happens, a line at a time.
	Progress func(string)
	// Stderr takes what fetching the embedded engine says.
	Stderr io.Writer
}

// Cases are the workloads there are.
func Cases() []workload.Case { return append(workload.Cases(), arrowInCase()) }

// bench is one run.
type bench struct {
	opts  Options
	cases []workload.Case
	doc   *report.Document

	dir     string // goes away with the run
	kafka   *embedded.Kafka
	server  *embedded.ClickHouse
	brokers []string
	base    *url.URL // of ClickHouse, with the run's database
	conn    driver.Conn
	id      string // of this run: in names of topics and tables
	runs    int    // for names
}

// Run runs the benchmarks. When something fails, or ctx ends, it returns an error and the document with what was measured, which is
// nil where the servers could not be reached.
func Run(ctx context.Context, opts Options) (_ *report.Document, err error) {
	if opts.Rounds < 1 || opts.Events < 0 || opts.Partitions < 1 {
		return nil, errors.New("at least one round and one partition are needed, and no negative number of events")
	}
	cases, err := workload.Select(Cases(), opts.Workloads)
	if err != nil {
		return nil, err
	}
	opts.Self = cmp.Or(opts.Self, opts.Weir)
	b := &bench{opts: opts, cases: cases, id: "b" + strings.ToLower(rand.Text()[:8])}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	steps, err := b.plan()
	if err != nil {
		return nil, err
	}
	err = b.runAll(ctx, steps)
	b.doc.Judge()
	return b.doc, err
}

// Names lists everything that Options.Workloads and Options.Scenarios take.
func Names() []string {
	var names []string
	for _, c := range Cases() {
		names = append(names, c.Name)
	}
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// Split sorts names into workloads and scenarios.
func Split(names []string) (cases, other []string, err error) {
	for _, n := range names {
		switch {
		case slices.ContainsFunc(Cases(), func(c workload.Case) bool { return c.Name == n }):
			cases = append(cases, n)
		case slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == n }):
			other = append(other, n)
		default:
			return nil, nil, fmt.Errorf("there is no workload %q; there are %s", n, strings.Join(Names(), ", "))
		}
	}
	return cases, other, nil
}

// Described is a workload or a scenario, for a list.
type Described struct {
	Name   string `json:"name"`
	About  string `json:"about"`
	Note   string `json:"note,omitempty"`
	Events int64  `json:"events,omitempty"`
}

// Describe lists everything there is to run.
func Describe() []Described {
	var out []Described
	for _, c := range Cases() {
		out = append(out, Described{c.Name, c.About, c.Note, c.Events * rowsOf(c)})
	}
	for _, s := range scenarios {
		out = append(out, Described{Name: s.name, About: s.about})
	}
	return out
}

func (b *bench) say(format string, args ...any) {
	if b.opts.Progress != nil {
		b.opts.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *bench) note(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	b.doc.Notes = append(b.doc.Notes, note)
	b.say("%s", note)
}

// start starts the servers, or reaches the user's, and describes the machine.
func (b *bench) start(ctx context.Context) (err error) {
	b.doc = &report.Document{
		Version: report.Version, At: time.Now().UTC().Truncate(time.Second), Machine: machine(),
		Options: report.Options{
			Events: b.opts.Events, Rounds: b.opts.Rounds, Partitions: b.opts.Partitions, Seed: b.opts.Seed,
			Workloads: append(slices.Clone(b.opts.Workloads), b.opts.Scenarios...), Brief: b.opts.Brief,
		},
	}
	b.doc.Machine.Weir = b.opts.Version
	if b.dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if err := os.CopyFS(filepath.Join(b.dir, "examples"), examples.Files); err != nil {
		return fmt.Errorf("unpack the operators: %w", err)
	}
	b.brokers, b.doc.Machine.Broker = b.opts.Brokers, "the user's"
	if len(b.brokers) == 0 {
		if b.kafka, err = embedded.StartKafka(ctx, embedded.Options{Binary: b.opts.Self}, kafka.Config{}); err != nil {
			return fmt.Errorf("start the embedded broker: %w", err)
		}
		b.brokers, b.doc.Machine.Broker = b.kafka.Brokers, "embedded"
	}
	dsn := b.opts.ClickHouse
	if dsn == "" {
		lib, err := libchdb.Ensure(ctx, b.opts.Stderr)
		if err != nil {
			return fmt.Errorf("%w; or name a server with --clickhouse", err)
		}
		if b.server, err = embedded.StartClickHouse(ctx, embedded.Options{Binary: b.opts.Self}, embeddedch.Config{LibPath: lib}); err != nil {
			return fmt.Errorf("start the embedded ClickHouse: %w", err)
		}
		dsn = b.server.DSN("default")
	}
	if err := b.connect(ctx, dsn); err != nil {
		return err
	}
	if startMeter().joules() == nil {
		b.note("energy: not told by this machine (RAPL cannot be read), so there is no joules_per_million")
	}
	if b.opts.TwoCores && b.doc.Machine.Cores < 2 {
		b.note("the machine has one core: nothing was measured on two")
	}
	return nil
}

// connect opens ClickHouse and makes the run's database.
func (b *bench) connect(ctx context.Context, dsn string) (err error) {
	if b.base, err = url.Parse(dsn); err != nil || b.base.Host == "" || strings.Contains(b.base.Host, ",") {
		return errors.New("the ClickHouse URL must be clickhouse://user:password@host:9000/database, with one host")
	}
	opts, err := clickhouse.ParseDSN(dsn)
	if err != nil {
		return fmt.Errorf("read the ClickHouse URL: %w", err)
	}
	if b.conn, err = clickhouse.Open(opts); err != nil {
		return fmt.Errorf("open ClickHouse: %w", err)
	}
	if err := b.conn.QueryRow(ctx, "SELECT version()").Scan(&b.doc.Machine.ClickHouse); err != nil {
		return fmt.Errorf("ask ClickHouse at %s: %w", b.base.Host, err)
	}
	if err := b.conn.Exec(ctx, "CREATE DATABASE "+b.database()); err != nil {
		return fmt.Errorf("make a database for the run: %w", err)
	}
	b.base.Path = "/" + b.database()
	return nil
}

func (b *bench) database() string { return "weir_bench_" + b.id }

// clickhouse is the URL of the run's database, at another address where one is given.
func (b *bench) clickhouse(addr string) string {
	u := *b.base
	u.Host = cmp.Or(addr, u.Host)
	return u.String()
}

// close removes what was made, and stops what was started.
func (b *bench) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var errs []error
	if b.conn != nil {
		if b.server == nil && b.base.Path == "/"+b.database() {
			errs = append(errs, b.conn.Exec(ctx, "DROP DATABASE IF EXISTS "+b.database()))
		}
		errs = append(errs, b.conn.Close())
	}
	if len(b.opts.Brokers) > 0 && b.brokers != nil {
		errs = append(errs, b.dropTopics(ctx))
	}
	if b.server != nil {
		errs = append(errs, b.server.Stop())
	}
	if b.kafka != nil {
		errs = append(errs, b.kafka.Stop())
	}
	if b.dir != "" {
		errs = append(errs, os.RemoveAll(b.dir))
	}
	return errors.Join(errs...)
}

// dropTopics removes the run's topics and groups from the user's brokers.
func (b *bench) dropTopics(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.brokers...))
	if err != nil {
		return fmt.Errorf("remove the topics of the run: %w", err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topics, err := adm.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("remove the topics of the run: %w", err)
	}
	var mine []string
	for _, t := range topics.Names() {
		if strings.HasPrefix(t, b.id+"-") {
			mine = append(mine, t)
		}
	}
	if len(mine) > 0 {
		if _, err := adm.DeleteTopics(ctx, mine...); err != nil {
			return fmt.Errorf("remove the topics of the run: %w", err)
		}
	}
	groups, err := adm.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("remove the groups of the run: %w", err)
	}
	var old []string
	for _, g := range groups.Groups() {
		if strings.HasPrefix(g, "weir-"+b.id+"-") {
			old = append(old, g)
		}
	}
	if len(old) > 0 {
		if _, err := adm.DeleteGroups(ctx, old...); err != nil {
			return fmt.Errorf("remove the groups of the run: %w", err)
		}
	}
	return nil
}

// dropTable removes a table, and a view, of a run that is over, so that ClickHouse does not merge what nobody reads.
func (b *bench) dropTables(ctx context.Context, name string) {
	name = strings.ReplaceAll(name, "-", "_")
	for _, sql := range []string{"DROP VIEW IF EXISTS %s.`%s`", "DROP TABLE IF EXISTS %s.`%s_partials`", "DROP TABLE IF EXISTS %s.`%s`"} {
		_ = b.conn.Exec(ctx, fmt.Sprintf(sql, b.database(), name)) // it is of no use, and does no harm
	}
}

// name gives a run a name of its own.
func (b *bench) name(what string) string {
	b.runs++
	return fmt.Sprintf("%s-%s-%d", b.id, what, b.runs)
}

func (b *bench) operators() string { return filepath.Join(b.dir, "examples", "operators") }

// task describes one run of a contender, with a folder of its own.
func (b *bench) task(c workload.Case, size workload.Size, topic, who string, cores int) (contender.Task, error) {
	t := contender.Task{
		Case: c, Size: size, Brokers: b.brokers, Topic: topic, ClickHouse: b.clickhouse(""), Name: b.name(c.Name + "-" + who), Cores: cores,
	}
	t.Dir = filepath.Join(b.dir, t.Name)
	if err := os.Mkdir(t.Dir, 0o700); err != nil {
		return t, fmt.Errorf("make a folder for %s: %w", who, err)
	}
	return t, nil
}
