package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded"
	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/kafka"
	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/edge-node/web"
	"github.com/weir-stream/weir/examples"
	sinkch "github.com/weir-stream/weir/sink/clickhouse"
)

// demo is one run of the demo.
type demo struct {
	a      *app
	events int64
	rate   float64
	seed   uint64
	keep   bool
	listen string

	dir      string
	kafka    *embedded.Kafka
	ch       *embedded.ClickHouse
	plan     *pipeline.Plan
	runner   *pipeline.Runner
	web      *web.Server
	truth    *workload.Truth
	produced atomic.Int64
	conn     driver.Conn

	// afterKeep ends a pipeline that was left running.
	afterKeep func() error
}

func (a *app) demoCommand() *cobra.Command {
	d := &demo{a: a}
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "See the whole of weir work, from nothing to an answer",
		GroupID: "pipelines",
		Long: `Start an embedded Kafka broker and an embedded ClickHouse as processes of their own,
produce readings of a thousand devices on twenty sites (out of order, repeated, late
and broken ones among them), run examples/sensors/pipeline.yaml with its WebAssembly
operator over them, and compare the answer in ClickHouse with one computed apart.

Everything listens on loopback and lives in a temporary folder that goes away with
the demo. Exit code 5 means that the answer differs from the truth.`,
		Example: `  weir demo
  weir demo --keep              # leave it running, to look around
  weir demo --events 5000000 --rate 0`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.Int64Var(&d.events, "events", 600_000, "readings to produce")
	f.Float64Var(&d.rate, "rate", 75_000, "readings per second; 0 is as fast as it goes")
	f.Uint64Var(&d.seed, "seed", 1, "seed of the generator: the same seed gives the same readings")
	f.BoolVar(&d.keep, "keep", false, "leave everything running until interrupted, and say how to connect")
	f.StringVar(&d.listen, "listen", "127.0.0.1:0", "address of metrics and health")
	return cmd
}

func (d *demo) run(ctx context.Context) (err error) {
	if d.events < 1 || d.rate < 0 {
		return errors.New("--events must be at least 1, and --rate not negative")
	}
	if d.dir, err = os.MkdirTemp("", "weir-demo-"); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.stream(ctx); err != nil {
		return err
	}
	verdict := d.answer(ctx)
	if d.keep && ctx.Err() == nil {
		d.connections()
		<-ctx.Done()
		fmt.Fprintln(d.a.stderr, "\nstopping")
		return verdict
	}
	return verdict
}

// start starts the servers and plans the pipeline.
func (d *demo) start(ctx context.Context) error {
	lib, err := libchdb.Ensure(ctx, d.a.stderr)
	if err != nil {
		return err
	}
	d.say("starting a Kafka broker and ClickHouse on loopback")
	opts := embedded.Options{Stderr: io.Discard}
	if d.kafka, err = embedded.StartKafka(ctx, opts, kafka.Config{}); err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	if d.ch, err = embedded.StartClickHouse(ctx, opts, clickhouse.Config{LibPath: lib}); err != nil {
		return fmt.Errorf("start the embedded ClickHouse: %w", err)
	}
	if err := os.CopyFS(filepath.Join(d.dir, "examples"), examples.Files); err != nil {
		return fmt.Errorf("unpack the example: %w", err)
	}
	file := filepath.Join(d.dir, "examples", "sensors", "pipeline.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the example: %w", err)
	}
	env := config.Env{ReadFile: d.a.env.ReadFile, Lookup: func(name string) (string, bool) {
		switch name {
		case "KAFKA_BROKERS":
			return strings.Join(d.kafka.Brokers, ","), true
		case "WEIR_CLICKHOUSE":
			return d.ch.DSN("default"), true
		}
		return "", false
	}}
	spec, err := config.ParseEnv(file, text, env)
	if err != nil {
		return err
	}
	node := config.DefaultNode()
	node.Site, node.UsageEvery = "demo", time.Second
	if d.plan, err = pipeline.New(ctx, spec, node, pipeline.Options{}); err != nil {
		return err
	}
	// On a terminal the screen tells what happens; only what is wrong is worth a line of its own.
	log := slog.New(newTerminalHandler(d.a.stderr, slog.LevelError, terminal(d.a.stderr)))
	if d.runner, err = d.plan.Open(ctx, pipeline.RunOptions{Version: buildVersion().String(), Log: log}); err != nil {
		return err
	}
	if d.web, err = web.New(d.listen, buildVersion().Version, []web.Pipeline{d.runner}, nil, nil, log); err != nil {
		return err
	}
	d.conn, err = openClickHouse(config.NewSecret(d.ch.DSN("default")))
	return err
}

// stream produces the readings and runs the pipeline until ClickHouse has an account of all of them.
func (d *demo) stream(ctx context.Context) error {
	gen, err := workload.Sensors(workload.SensorsConfig{Seed: d.seed, Events: d.events, HugeSize: 1<<20 + 1<<16}.DefaultMix())
	if err != nil {
		return err
	}
	if d.truth, err = workload.NewSensorsTruth(workload.SensorsTruthConfig{}); err != nil {
		return err
	}
	// Not ended by ctx: what was read is shipped before the servers go.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 3)
	go func() { ended <- d.web.Run(running) }()
	go func() {
		_, err := workload.Produce(running, d.kafka.Brokers, "sensors", gen, workload.ProduceOptions{
			Rate: d.rate, Observe: d.truth.Add, Progress: d.produced.Store,
		})
		if err != nil {
			ended <- fmt.Errorf("produce: %w", err)
		}
	}()
	finished := make(chan error, 1)
	go func() { finished <- d.runner.Run(running) }()

	screen := newDemoScreen(d)
	tick := time.NewTicker(screen.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			stop()
			<-finished
			screen.end()
			return ctx.Err()
		case err := <-ended:
			stop()
			<-finished
			return err
		case err := <-finished:
			stop()
			if err == nil {
				err = errors.New("the pipeline ended before the stream did")
			}
			return err
		case <-tick.C:
		}
		accounted, windows, err := d.accounted(ctx)
		if err != nil {
			continue // the tables are not there yet
		}
		screen.show(windows)
		if accounted >= d.events {
			screen.show(windows)
			screen.end()
			if d.keep {
				d.keepRunning(stop, finished)
				return nil
			}
			stop()
			return <-finished
		}
	}
}

// keepRunning lets the pipeline go on behind the answer.
func (d *demo) keepRunning(stop func(), finished <-chan error) {
	d.afterKeep = func() error {
		stop()
		return <-finished
	}
}

// accounted asks ClickHouse how many records it has an account of, and how many windows.
func (d *demo) accounted(ctx context.Context) (records, windows int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var in, rows uint64
	err = d.conn.QueryRow(ctx, `SELECT toUInt64(sum(records_in)) FROM weir_coverage FINAL`).Scan(&in)
	if err == nil {
		err = d.conn.QueryRow(ctx, `SELECT toUInt64(uniqExact(window_start)) FROM line_temperature_partials`).Scan(&rows)
	}
	return int64(in), int64(rows), err
}

// answer compares what ClickHouse says with the truth.
func (d *demo) answer(ctx context.Context) error {
	columns := d.truth.Columns()
	sql := "SELECT toUnixTimestamp64Milli(window_start), toString(" + strings.Join(columns.Keys, "), toString(") + ")"
	for _, v := range columns.Values {
		sql += ", toFloat64(" + v.Name + ")"
	}
	sql += " FROM line_temperature"
	rows, err := d.conn.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("ask for the answer: %w", err)
	}
	defer rows.Close()
	got, err := workload.ReadRows(rows, columns)
	if err != nil {
		return err
	}
	want := d.truth.Windows()
	if err := d.sample(ctx, columns, want); err != nil {
		return err
	}
	diff := workload.Diff(columns, want, got, 10)
	account, same, err := d.account(ctx)
	if err != nil {
		return err
	}
	audit, err := d.audit(ctx)
	if err != nil {
		return err
	}
	out := d.a.stdout
	fmt.Fprintf(out, "\n%s\n", account)
	fmt.Fprintf(out, "audit    %s\n", verdictWord(audit.OK, "every offset is accounted for, every total adds up", "FAULTS: see weir audit"))
	cost, err := d.cost(ctx)
	if err != nil {
		return err
	}
	fmt.Fprint(out, cost)
	if diff.Exact() && same && audit.OK {
		fmt.Fprintf(out, "\nexact: all %s answers in ClickHouse equal the truth computed apart\n", thousands(int64(len(want))))
		return nil
	}
	fmt.Fprintf(out, "\nDIFFERENT: %s\n", diff)
	return &differsError{"the answer differs from the truth"}
}

func verdictWord(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

// audit proves the totals by SQL.
func (d *demo) audit(ctx context.Context) (*sinkch.AuditReport, error) {
	s, err := sinkch.New(d.plan.ClickHouse(), d.plan.Table, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Audit(ctx)
}

// cost says what every team has used.
func (d *demo) cost(ctx context.Context) (string, error) {
	rows, err := d.conn.Query(ctx, `SELECT tags['team'] AS team, sum(fuel), sum(seconds) FROM weir_usage_hourly GROUP BY team ORDER BY team`)
	if err != nil {
		return "", fmt.Errorf("ask for the usage: %w", err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var team string
		var fuel uint64
		var seconds float64
		if err := rows.Scan(&team, &fuel, &seconds); err != nil {
			return "", fmt.Errorf("read the usage: %w", err)
		}
		fmt.Fprintf(&b, "cost     team %s: %s million WebAssembly instructions, %.2f s in all steps\n",
			team, thousands(int64(fuel/1e6)), seconds)
	}
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("read the usage: %w", err)
	}
	return b.String(), nil
}

// account compares the counters in ClickHouse with those of the truth.
func (d *demo) account(ctx context.Context) (string, bool, error) {
	var in, aggregated, late, filtered, rejected uint64
	err := d.conn.QueryRow(ctx, `SELECT toUInt64(sum(records_in)), toUInt64(sum(aggregated)), toUInt64(sum(late)), toUInt64(sum(filtered)),
		toUInt64(sum(rejected)) FROM weir_coverage FINAL`).Scan(&in, &aggregated, &late, &filtered, &rejected)
	if err != nil {
		return "", false, fmt.Errorf("ask for the account: %w", err)
	}
	t := d.truth.Counts()
	same := true
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s %12s %12s\n", "", "ClickHouse", "truth")
	for _, line := range []struct {
		name string
		got  uint64
		want int64
	}{
		{"records read", in, t.Records},
		{"rows in windows", aggregated, t.Aggregated},
		{"late", late, t.Late},
		{"filtered", filtered, t.Filtered},
		{"rejected", rejected, t.AllRejected()},
	} {
		mark := ""
		if int64(line.got) != line.want {
			mark, same = "  <- different", false
		}
		fmt.Fprintf(&b, "%-22s %12s %12s%s\n", line.name, thousands(int64(line.got)), thousands(line.want), mark)
	}
	return b.String(), same, nil
}

// sample shows some answers beside the truth.
func (d *demo) sample(ctx context.Context, columns workload.Columns, want []workload.Row) error {
	const sql = `SELECT formatDateTime(window_start, '%H:%i:%S') AS window, site, device, readings, round(temp_avg, 3), temp_min, temp_max,
		toUnixTimestamp64Milli(window_start) FROM line_temperature ORDER BY temp_max DESC, window_start, device LIMIT 5`
	rows, err := d.conn.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("ask for a sample: %w", err)
	}
	defer rows.Close()
	average := 0
	for i, v := range columns.Values {
		if v.Name == "temp_avg" {
			average = i
		}
	}
	out := d.a.stdout
	fmt.Fprintln(out, "\nSELECT … FROM line_temperature ORDER BY temp_max DESC LIMIT 5")
	fmt.Fprintf(out, "  %-9s %-5s %-7s %9s %9s %9s %9s   %s\n", "window", "site", "device", "readings", "temp_avg", "temp_min", "temp_max", "truth: readings, temp_avg")
	for rows.Next() {
		var window, site, device string
		var readings uint64
		var avg, lo, hi float64
		var start int64
		if err := rows.Scan(&window, &site, &device, &readings, &avg, &lo, &hi, &start); err != nil {
			return fmt.Errorf("read a sample: %w", err)
		}
		truth := "none"
		for _, w := range want {
			if w.Start == start && w.Keys[0] == site && w.Keys[1] == device {
				truth = fmt.Sprintf("%v, %.3f", w.Values[0], w.Values[average])
			}
		}
		fmt.Fprintf(out, "  %-9s %-5s %-7s %9d %9.3f %9.2f %9.2f   %s\n", window, site, device, readings, avg, lo, hi, truth)
	}
	return rows.Err()
}

// connections says how to reach what runs.
func (d *demo) connections() {
	host, port, _ := strings.Cut(d.ch.Native, ":")
	fmt.Fprintf(d.a.stdout, `
everything is still running; Ctrl-C stops it

  clickhouse-client --host %s --port %s
  weir query --url %s 'SELECT * FROM line_temperature LIMIT 5'
  curl 'http://%s/?query=SELECT+count()+FROM+line_temperature'
  kcat -b %s -t sensors -C -c 5
  curl http://%s/metrics
`, host, port, d.ch.DSN("default"), d.ch.HTTP, d.kafka.Brokers[0], d.web.Addr())
}

// close stops everything, in the reverse of the order it was started in.
func (d *demo) close() error {
	var errs []error
	if d.afterKeep != nil {
		errs = append(errs, d.afterKeep())
	}
	if d.runner != nil {
		errs = append(errs, d.runner.Close())
	}
	if d.plan != nil {
		errs = append(errs, d.plan.Close())
	}
	if d.conn != nil {
		errs = append(errs, d.conn.Close())
	}
	if d.ch != nil {
		errs = append(errs, d.ch.Stop())
	}
	if d.kafka != nil {
		errs = append(errs, d.kafka.Stop())
	}
	return errors.Join(append(errs, os.RemoveAll(d.dir))...)
}

// say tells what happens, on stderr.
func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.a.stderr, format+"\n", args...) }

// thousands writes a number with separators.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
