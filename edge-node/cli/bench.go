package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/harness"
	"github.com/weir-stream/weir/bench/peers"
	"github.com/weir-stream/weir/bench/report"
)

// benchRun is one call of weir bench.
type benchRun struct {
	a         *app
	opts      harness.Options
	workloads []string
	asJSON    string
	html      string
	limits    bool
	peers     bool
}

func (a *app) benchCommand() *cobra.Command {
	b := &benchRun{a: a}
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Measure weir on this machine, beside what is possible",
		GroupID: "other",
		Long: `Measure a weir binary from outside, over the real protocols: topics are filled,
weir reads them, and every answer in ClickHouse is compared with one computed apart
before it counts. In the same rounds run the ceilings: a consumer that does nothing
with the records, and Go written by hand for the same answer. Ratios to them can be
compared between machines; times cannot.

All of it takes about a quarter of an hour on 2 cores, and 5 GB of disk in the folder
for temporary files. W1 and W2 are measured in all rounds on one and on two cores, and
the others in three rounds on one: name them to measure them fully. A run that is
interrupted writes what it has.

A broker and ClickHouse are started for the run. With --brokers and --clickhouse your
own are used, in topics and a database that go away afterwards.

'weir bench list' says what there is to measure, 'weir bench smoke' measures what a
change must not worsen, 'weir bench compare' sets two runs side by side.`,
		Example: `  weir bench
  weir bench --workloads sensors,latency,curves --rounds 6 --html report.html --json now.json
  weir bench --workloads sensors --weir ./old/weir --json before.json
  weir bench compare before.json now.json`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	b.flags(cmd, "all", 5)
	cmd.Flags().BoolVar(&b.opts.TwoCores, "two-cores", true, "measure on two cores as well, where there are two")
	cmd.Flags().BoolVar(&b.peers, "peers", false, "measure other engines as well, where they are installed: Kafka Streams (Maven fetches its jars), Flink, Bento, Redpanda Connect, Vector")
	cmd.AddCommand(a.benchSmokeCommand(), a.benchListCommand(), a.benchCompareCommand(), a.benchContenderCommand())
	return cmd
}

// flags adds the flags of a run, which measures some workloads a number of times where nothing else is said.
func (b *benchRun) flags(cmd *cobra.Command, workloads string, rounds int) {
	f := cmd.Flags()
	f.StringSliceVar(&b.workloads, "workloads", strings.Split(workloads, ","), "what to measure, as 'weir bench list' names it, or all")
	f.Int64Var(&b.opts.Events, "events", 0, "records of each workload; 0 is what it takes by itself")
	f.IntVar(&b.opts.Rounds, "rounds", rounds, "how often everything is measured; figures are medians")
	f.Int32Var(&b.opts.Partitions, "partitions", 8, "partitions of the topics")
	f.Uint64Var(&b.opts.Seed, "seed", 1, "seed of the records: the same seed gives the same records")
	f.DurationVar(&b.opts.Live, "live", 20*time.Second, "how long the runs at a given load take")
	f.DurationVar(&b.opts.Soak, "soak", time.Minute, "how long soak takes; an hour tells more")
	f.StringVar(&b.asJSON, "json", "", "write everything that was found to a file; - is stdout, instead of the table")
	f.StringVar(&b.html, "html", "", "write a page with plots to a file")
	f.StringVar(&b.opts.Profile, "profile", "", "folder for profiles of weir while it reads")
	f.StringVar(&b.opts.Weir, "weir", "", "the binary to measure; default this one")
	f.StringSliceVar(&b.opts.Brokers, "brokers", nil, "Kafka brokers to use, host:port,...; default one that is started")
	f.StringVar(&b.opts.ClickHouse, "clickhouse", "", "ClickHouse to use, clickhouse://user:password@host:9000/default; default one that is started")
	completeFlagFiles(cmd, "json", "json")
	completeFlagFiles(cmd, "html", "html")
	completeFolders(cmd, "profile")
}

func (a *app) benchSmokeCommand() *cobra.Command {
	b := &benchRun{a: a, limits: true}
	cmd := &cobra.Command{
		Use:   "smoke",
		Short: "Measure the figures that a change must not worsen, in under three minutes",
		Long: `Measure W1 and W2 on one core beside their ceilings, and a node at rest. The last line
has every figure; the exit code is 1 when one is outside its limit.`,
		Example: "  weir bench smoke --json now.json",
		Args:    exactly(0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	b.flags(cmd, "sensors,project,rest", 3)
	return cmd
}

func (b *benchRun) run(cmd *cobra.Command) error {
	if b.opts.Rounds < 1 || b.opts.Rounds > 1000 {
		return usagef(cmd, "--rounds is %d: it must be from 1 to 1000", b.opts.Rounds)
	}
	if b.opts.Events != 0 && (b.opts.Events < 1000 || b.opts.Events > 1_000_000_000) {
		return usagef(cmd, "--events is %d: it must be from 1,000 to 1,000,000,000, or 0", b.opts.Events)
	}
	if b.opts.Partitions < 1 || b.opts.Partitions > 10_000 {
		return usagef(cmd, "--partitions is %d: it must be from 1 to 10,000", b.opts.Partitions)
	}
	if b.opts.Live < 4*time.Second || b.opts.Soak < 4*time.Second {
		return usagef(cmd, "--live and --soak must be at least 4s: records wait up to 2 s for a flush")
	}
	names := b.workloads
	if b.opts.Brief = len(names) == 1 && names[0] == "all"; b.opts.Brief {
		names = harness.Names()
	}
	var err error
	if b.opts.Workloads, b.opts.Scenarios, err = harness.Split(names); err != nil {
		return usagef(cmd, "--workloads: %v", err)
	}
	if b.opts.Self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	b.opts.Version = versionText()
	if b.opts.Weir == "" {
		b.opts.Weir = b.opts.Self
	} else if b.opts.Weir, err = filepath.Abs(b.opts.Weir); err != nil {
		return fmt.Errorf("find %s: %w", b.opts.Weir, err)
	}
	if b.peers {
		b.opts.Contenders = peers.All()
	}
	b.opts.Stderr = b.a.stderr
	b.opts.Progress = func(line string) { fmt.Fprintln(b.a.stderr, line) }
	doc, err := harness.Run(cmd.Context(), b.opts)
	if doc == nil {
		return err
	}
	// What was measured is written, whatever kept the rest from being.
	return errors.Join(err, b.finish(doc))
}

// finish writes what was found, and fails when something is not as it must be.
func (b *benchRun) finish(doc *report.Document) error {
	if b.asJSON == "-" {
		if err := doc.Write(b.a.stdout); err != nil {
			return err
		}
	} else {
		if b.asJSON != "" {
			if err := writeWith(b.asJSON, doc.Write); err != nil {
				return err
			}
		}
		if err := doc.WriteTable(b.a.stdout); err != nil {
			return err
		}
	}
	if b.html != "" {
		links, err := b.links()
		if err != nil {
			return err
		}
		if err := writeWith(b.html, func(w io.Writer) error { return doc.WriteHTML(w, links) }); err != nil {
			return err
		}
	}
	if b.limits && b.asJSON != "-" {
		fmt.Fprintf(b.a.stdout, "\nbench-smoke: %s\n", doc.LastLine())
	}
	if wrong := doc.Wrong(); len(wrong) > 0 {
		return &differsError{"an answer differs from the truth: " + wrong[0]}
	}
	if b.limits && !doc.Met() {
		return errors.New("a figure is outside its limit")
	}
	return nil
}

// links is where the page finds the profiles: their folder, seen from the page's.
func (b *benchRun) links() (string, error) {
	if b.opts.Profile == "" {
		return "", nil
	}
	page, err := filepath.Abs(filepath.Dir(b.html))
	if err != nil {
		return "", fmt.Errorf("find the folder of the page: %w", err)
	}
	profiles, err := filepath.Abs(b.opts.Profile)
	if err != nil {
		return "", fmt.Errorf("find the folder of the profiles: %w", err)
	}
	if profiles, err = filepath.Rel(page, profiles); err != nil {
		return "", fmt.Errorf("find the profiles from the page: %w", err)
	}
	return filepath.ToSlash(profiles), nil
}

// writeWith makes a file and lets write fill it.
func writeWith(name string, write func(io.Writer) error) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

func (a *app) benchListCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List what there is to measure",
		Example: "  weir bench list",
		Args:    exactly(0, ""),
		RunE: func(*cobra.Command, []string) error {
			all := harness.Describe()
			if asJSON {
				return a.printJSON(all)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, d := range all {
				events := ""
				if d.Events > 0 {
					events = thousands(d.Events) + " events"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", d.Name, d.About, events)
				if d.Note != "" {
					fmt.Fprintf(w, "\t  %s\t\n", d.Note)
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// benchContenderCommand is what weir bench starts itself again as.
func (a *app) benchContenderCommand() *cobra.Command {
	return &cobra.Command{
		Use:    strings.Join(contender.ChildArgs()[1:], " "),
		Short:  "Be one of the programs that weir is compared with",
		Long:   "Started by 'weir bench' alone.",
		Hidden: true,
		Args:   exactly(0, ""),
		RunE:   func(cmd *cobra.Command, _ []string) error { return contender.Child(cmd.Context()) },
	}
}

// versionText is the version with the commit it was built from, where that is known.
func versionText() string {
	v := buildVersion()
	if v.Commit == "" {
		return v.Version
	}
	text := v.Version + " " + v.Commit[:min(12, len(v.Commit))]
	if v.Modified {
		text += " with changes"
	}
	return text
}
