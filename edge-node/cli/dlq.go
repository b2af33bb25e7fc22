package cli

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink/clickhouse"
)

func (a *app) dlqCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dlq",
		Short:   "Dead letters: look at them, send them again, delete them",
		GroupID: "answers",
		Long: `Dead letters are the records, and rows of records, that a pipeline rejected or that
came too late. They are in ClickHouse, with reason, place and payload, of every site.`,
		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(oneFile(a.dlqList()), oneFile(a.dlqShow()), oneFile(a.dlqReplay()), oneFile(a.dlqPurge()))
	return cmd
}

// dlq is what all commands about dead letters have: whose they are, and which.
type dlq struct {
	node         nodeFlags
	url          string
	filter       clickhouse.LetterFilter
	since, until string
	offsets      []string
	limit        int
}

// dlqFilterLong says what the flags of all of them choose.
const dlqFilterLong = `
--since and --until choose by the time of the record, as 2026-11-21T10:00:00Z or as
a span before now such as 2h. --offset takes single offsets and ranges, 100-200.`

func (d *dlq) add(cmd *cobra.Command, limit int, what string) {
	d.addFilter(cmd)
	cmd.Flags().IntVar(&d.limit, "limit", limit, what)
}

func (d *dlq) addFilter(cmd *cobra.Command) {
	d.node.add(cmd, "clickhouse")
	f := cmd.Flags()
	f.StringVar(&d.url, "url", "", "ClickHouse URL, instead of the pipeline's")
	f.StringVar(&d.filter.Site, "site", "", "only those of a site")
	f.StringVar(&d.filter.Reason, "reason", "", "only those with a reason, such as malformed or late")
	f.StringVar(&d.filter.Step, "step", "", "only those of a step, such as decode or '2 wasm calibrate'")
	f.StringVar(&d.filter.Topic, "topic", "", "only those of a topic")
	f.Int32SliceVar(&d.filter.Partitions, "partition", nil, "only those of these partitions")
	f.StringSliceVar(&d.offsets, "offset", nil, "only those of records at these offsets")
	f.StringVar(&d.since, "since", "", "only those of records of this time or later")
	f.StringVar(&d.until, "until", "", "only those of records before this time")
	var reasons []string
	for _, r := range batch.Reasons() {
		reasons = append(reasons, string(r))
	}
	completeWords(cmd, "reason", reasons...)
}

// parse reads what the flags say.
func (d *dlq) parse(cmd *cobra.Command) error {
	var err error
	if d.filter.Since, err = momentOf(d.since); err != nil {
		return usagef(cmd, "--since: %v", err)
	}
	if d.filter.Until, err = momentOf(d.until); err != nil {
		return usagef(cmd, "--until: %v", err)
	}
	for _, o := range d.offsets {
		r, err := offsetRange(o)
		if err != nil {
			return usagef(cmd, "--offset: %v", err)
		}
		d.filter.Offsets = append(d.filter.Offsets, r)
	}
	if i := slices.IndexFunc(d.filter.Partitions, func(p int32) bool { return p < 0 }); i >= 0 {
		return usagef(cmd, "--partition: %d is negative", d.filter.Partitions[i])
	}
	if d.limit < 0 {
		return usagef(cmd, "--limit: %d is negative; 0 is no limit", d.limit)
	}
	if d.url != "" {
		if err := config.CheckClickHouseURL(d.url); err != nil {
			return usagef(cmd, "--url: %v", err)
		}
	}
	if r := d.filter.Reason; r != "" && !slices.Contains(batch.Reasons(), batch.Reason(r)) {
		var names []string
		for _, known := range batch.Reasons() {
			names = append(names, string(known))
		}
		return usagef(cmd, "--reason: there is no reason %q; there are: %s", r, strings.Join(names, ", "))
	}
	return onlyOne(cmd, "url", "clickhouse")
}

// offsetRange reads an offset or a range of them, both ends included.
func offsetRange(s string) (clickhouse.OffsetRange, error) {
	from, to, ranged := strings.Cut(s, "-")
	wrong := fmt.Errorf("%q is neither an offset nor a range such as 100-200", s)
	r := clickhouse.OffsetRange{To: math.MaxInt64}
	var err error
	if r.From, err = strconv.ParseInt(from, 10, 64); err != nil || r.From < 0 {
		return r, wrong
	}
	switch {
	case !ranged:
		r.To = r.From
	case to != "":
		if r.To, err = strconv.ParseInt(to, 10, 64); err != nil || r.To < r.From {
			return r, wrong
		}
	}
	return r, nil
}

// letterRecord reads topic/partition/offset.
func letterRecord(s string) (clickhouse.LetterRecord, error) {
	wrong := fmt.Errorf("%q does not name a record: write topic/partition/offset", s)
	parts := strings.Split(s, "/")
	if len(parts) != 3 || parts[0] == "" {
		return clickhouse.LetterRecord{}, wrong
	}
	partition, err := strconv.ParseInt(parts[1], 10, 32)
	offset, err2 := strconv.ParseInt(parts[2], 10, 64)
	if errors.Join(err, err2) != nil || partition < 0 || offset < 0 {
		return clickhouse.LetterRecord{}, wrong
	}
	return clickhouse.LetterRecord{Topic: parts[0], Partition: int32(partition), Offset: offset}, nil
}

// open finds the pipeline of a file and opens its dead letters. The modules it names need not be there.
func (d *dlq) open(a *app, file string) (*config.Pipeline, config.Node, *clickhouse.Letters, error) {
	n, err := d.node.load(a)
	if err != nil {
		return nil, n, nil, err
	}
	p, err := a.loadPipeline(file)
	if err != nil {
		return nil, n, nil, err
	}
	unknown := p.Use(n) // of what is not known, only the URL matters here, and the brokers to a replay
	cfg := clickhouse.Config{URL: p.Sink.ClickHouse.URL.Reveal(), Table: p.Sink.ClickHouse.Table, QueryTimeout: 10 * time.Minute}
	if d.url != "" {
		cfg.URL = d.url
	}
	if cfg.URL == "" {
		if unknown != nil {
			return nil, n, nil, unknown
		}
		return nil, n, nil, config.Errors{p.ErrorAt("sink.clickhouse", "no ClickHouse URL is known").
			WithHint("give --url, write url: here, clickhouse.url in node.yaml, or set WEIR_CLICKHOUSE")}
	}
	letters, err := clickhouse.OpenLetters(cfg, p.Name, a.logger(n.Log))
	return p, n, letters, err
}

// oneFile makes the shell offer a pipeline file as the first argument, and nothing behind it.
func oneFile(cmd *cobra.Command) *cobra.Command {
	files := completeFiles(cmd).ValidArgsFunction
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return files(cmd, args, begun)
	}
	return cmd
}
