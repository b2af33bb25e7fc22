package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-stream/weir/bench/workload"
)

// producer is one call of the command.
type producer struct {
	a    *app
	node nodeFlags

	topic      string
	events     int64
	rate       float64
	partitions int32
	json       bool

	seed     uint64
	start    string
	keyField string
}

const weatherFile = "examples/weather/seattle-weather-hourly-normals.csv"

func (a *app) produceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "produce",
		Short:   "Send records to a topic: the data of the examples, or your own lines",
		GroupID: "pipelines",
		Long: `Send records to a topic, to try pipelines: the data of the examples, or your own,
one record a line.

A topic that does not exist is created, and keeps its records for ever, because the
times of the examples are old. A broker that goes away meanwhile is waited for.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.produceSensors(), a.produceTicks(), a.produceWeather(), a.produceLines(), a.produceArrow())
	return cmd
}

// add gives a command the flags that all have. An empty topic must be given.
func (p *producer) add(cmd *cobra.Command, topic, events string, partitions int32) {
	p.node.add(cmd, "kafka")
	f := cmd.Flags()
	f.Lookup("kafka").Usage = "brokers, host:port,... (or WEIR_KAFKA, default localhost:9092)"
	f.StringVarP(&p.topic, "topic", "t", topic, "topic to send to")
	f.Int64VarP(&p.events, "events", "n", 0, events)
	f.Float64Var(&p.rate, "rate", 0, "records per second; 0 is as fast as it goes")
	f.Int32Var(&p.partitions, "partitions", 0, fmt.Sprintf("partitions to spread over; default all of the topic, or %d for a new one", partitions))
	f.BoolVar(&p.json, "json", false, "print the summary as JSON")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case p.topic == "":
			return usagef(cmd, "--topic is missing")
		case p.events < 0 || !(p.rate >= 0) || p.partitions < 0:
			return usagef(cmd, "--events, --rate and --partitions must not be negative")
		}
		return nil
	}
}

// addGenerated adds the flags of data that is made up.
func (p *producer) addGenerated(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&p.seed, "seed", 1, "the same seed gives the same records")
	cmd.Flags().StringVar(&p.start, "start", "", "event time of the first record, RFC 3339 or 'now' (default in November 2023)")
}

func (p *producer) startTime() (time.Time, error) {
	switch p.start {
	case "":
		return time.Time{}, nil
	case "now":
		return time.Now().Truncate(time.Second), nil
	}
	t, err := time.Parse(time.RFC3339, p.start)
	if err != nil {
		return t, &usageError{msg: fmt.Sprintf("--start: %q is neither 'now' nor a time like 2026-01-31T12:00:00Z", p.start)}
	}
	return t, nil
}

func (a *app) produceSensors() *cobra.Command {
	p := &producer{a: a}
	const partitions = 8
	cmd := &cobra.Command{
		Use:   "sensors",
		Short: "Temperature readings, for examples/sensors",
		Long: `Send temperature readings of a thousand devices on twenty sites, ten minutes of
event time in all: out of order, and some repeated, late, broken, or of probes that
are loose. examples/sensors/pipeline.yaml is made for them.

Sent again into the same topic they are late, all of them: use another topic, or a
later --start.`,
		Example: `  weir produce sensors
  weir produce sensors --kafka localhost:19092 --events 5000000
  weir produce sensors --start now --rate 1000 --events 600000`,
		Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			start, err := p.startTime()
			if err != nil {
				return err
			}
			return p.run(cmd.Context(), partitions, func(n int32) (workload.Generator, error) {
				return workload.Sensors(workload.SensorsConfig{Seed: p.seed, Events: p.events, NumPartitions: n, Start: start}.DefaultMix())
			})
		},
	}
	p.add(cmd, "sensors", "records to send; default 1,000,000", partitions)
	p.addGenerated(cmd)
	return cmd
}

func (a *app) produceTicks() *cobra.Command {
	p := &producer{a: a}
	const partitions = 4
	cmd := &cobra.Command{
		Use:   "ticks",
		Short: "Trades, for examples/ticks",
		Long: `Send trades of a dozen made-up symbols, thirty minutes of event time in all.
examples/ticks/pipeline.yaml is made for them.`,
		Example: "  weir produce ticks\n  weir produce ticks --start now --rate 100",
		Args:    exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			start, err := p.startTime()
			if err != nil {
				return err
			}
			return p.run(cmd.Context(), partitions, func(n int32) (workload.Generator, error) {
				return workload.Ticks(workload.TicksConfig{Seed: p.seed, Events: p.events, NumPartitions: n, Start: start})
			})
		},
	}
	p.add(cmd, "ticks", "records to send; default 100,000", partitions)
	p.addGenerated(cmd)
	return cmd
}

func (a *app) produceWeather() *cobra.Command {
	p := &producer{a: a}
	cmd := &cobra.Command{
		Use:   "weather [FILE]",
		Short: "A year of hourly weather, for examples/weather",
		Long: `Send the rows of a weather file, by default
` + weatherFile + `, a year of Seattle
hour by hour. examples/weather/pipeline.yaml is made for them.`,
		Example: "  weir produce weather",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := weatherFile
			if len(args) > 0 {
				file = args[0]
			}
			in, err := os.Open(file)
			if err != nil {
				return fmt.Errorf("read the weather: %w", err)
			}
			defer func() { _ = in.Close() }()
			return p.run(cmd.Context(), 1, func(n int32) (workload.Generator, error) {
				g, err := workload.Weather(in, workload.WeatherConfig{NumPartitions: n})
				return &firstOf{Generator: g, limit: p.events}, err
			})
		},
	}
	p.add(cmd, "weather", "records to send at most; default all", 1)
	return cmd
}

func (a *app) produceLines() *cobra.Command {
	p := &producer{a: a}
	cmd := &cobra.Command{
		Use:   "lines [FILE]",
		Short: "Your own records, one a line",
		Long: `Send every line of a file, or of stdin, as the value of a record. Empty lines are
left out.

With --key-field the records are keyed by a field of theirs, a dot leading inside:
those with the same key keep their order. Lines that have no such field are sent
without a key, in turns to all partitions, as all lines are without --key-field.`,
		Example: `  weir produce lines readings.jsonl --topic sensors --key-field device
  tail -f /var/log/line.jsonl | weir produce lines --topic sensors
  echo '{"device":"d1","ts":1700000000000,"temp":21.5}' | weir produce lines -t sensors`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in, closeIn, err := a.openLines(args)
			if err != nil {
				return err
			}
			defer closeIn()
			var g *lines
			err = p.run(cmd.Context(), 1, func(n int32) (workload.Generator, error) {
				g = newLines(cmd.Context(), in, n, p.keyField)
				return &firstOf{Generator: g, limit: p.events}, nil
			})
			if g != nil && g.keyless > 0 && p.keyField != "" {
				fmt.Fprintf(a.stderr, "%s had no field %s and went without a key\n", count(g.keyless, "line"), printable(p.keyField))
			}
			return err
		},
	}
	p.add(cmd, "", "lines to send at most; default all", 1)
	cmd.Flags().StringVarP(&p.keyField, "key-field", "k", "", "JSON field that is the key")
	return cmd
}

// produced is the summary.
type produced struct {
	Topic      string   `json:"topic"`
	Brokers    []string `json:"brokers"`
	Partitions int32    `json:"partitions"`
	Records    int64    `json:"records"`
	Seconds    float64  `json:"seconds"`
}

// run sends what a generator makes. partitions is how many a new topic gets.
func (p *producer) run(ctx context.Context, partitions int32, generator func(partitions int32) (workload.Generator, error)) error {
	n, err := p.node.load(p.a)
	if err != nil {
		return err
	}
	if n.Kafka.SASL != nil || n.Kafka.TLS != nil {
		return &usageError{msg: "weir produce neither logs in nor encrypts, as kafka in node.yaml asks for: use another producer there"}
	}
	brokers := n.Kafka.Brokers
	if len(brokers) == 0 {
		brokers = []string{"localhost:9092"}
	}
	have, err := topicPartitions(ctx, brokers, p.topic)
	if err != nil {
		return err
	}
	switch {
	case p.partitions > 0:
		partitions = p.partitions
	case have > 0:
		partitions = have
	}
	gen, err := generator(partitions)
	if err != nil {
		return err
	}
	began := time.Now()
	show := p.progress(began)
	sent, err := workload.Produce(ctx, brokers, p.topic, gen, workload.ProduceOptions{
		Rate: p.rate, Progress: show,
	})
	took := time.Since(began)
	if terminal(p.a.stderr) {
		fmt.Fprint(p.a.stderr, "\r\x1b[2K")
	}
	if err != nil && sent == 0 {
		return err
	}
	if p.json {
		return errors.Join(err, p.a.printJSON(produced{p.topic, brokers, partitions, sent, took.Seconds()}))
	}
	fmt.Fprintf(p.a.stdout, "sent %s to %s of topic %s at %s in %s\n", count(sent, "record"), count(int64(partitions), "partition"),
		printable(p.topic), strings.Join(brokers, ","), took.Round(10*time.Millisecond))
	return err
}

// progress draws one line over and over on a terminal, and nothing elsewhere.
func (p *producer) progress(began time.Time) func(int64) {
	if !terminal(p.a.stderr) {
		return nil
	}
	return func(sent int64) {
		rate := float64(sent) / time.Since(began).Seconds()
		fmt.Fprintf(p.a.stderr, "\r\x1b[2Ksent %s records, %s a second", thousands(sent), thousands(int64(rate)))
	}
}

// topicPartitions asks how many partitions a topic has; 0 where there is no such topic.
func topicPartitions(ctx context.Context, brokers []string, topic string) (int32, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DialTimeout(5*time.Second), kgo.RetryTimeout(10*time.Second))
	if err != nil {
		return 0, fmt.Errorf("configure the Kafka client: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	away := func(err error) error {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &unreachableError{
			fmt.Errorf("ask Kafka at %s: %w", strings.Join(brokers, ","), err),
			"is it running? --kafka names another; 'weir embedded kafka --port 9092' starts one",
		}
	}
	if err := client.Ping(ctx); err != nil {
		return 0, away(err)
	}
	topics, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		return 0, away(err)
	}
	return int32(len(topics[topic].Partitions)), nil
}

// firstOf ends a generator after so many records; 0 is no end.
type firstOf struct {
	workload.Generator
	limit, given int64
}

// Next implements workload.Generator.
func (f *firstOf) Next(r *workload.Record) bool {
	if f.limit > 0 && f.given == f.limit {
		return false
	}
	f.given++
	return f.Generator.Next(r)
}

// atMost takes n arguments or fewer.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef(cmd, "unexpected argument %q", args[n])
		}
		return nil
	}
}
