package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// audit is one call of the command.
type audit struct {
	node      nodeFlags
	url       string
	timeout   time.Duration
	json, sql bool
}

// audited is the answer about all pipelines.
type audited struct {
	OK        bool                      `json:"ok"` // every pipeline has something to prove, and it is proven
	Pipelines []*clickhouse.AuditReport `json:"pipelines"`
}

func (a *app) auditCommand() *cobra.Command {
	o := &audit{}
	cmd := &cobra.Command{
		Use:     "audit FILE...",
		Short:   "Prove by SQL that the totals in ClickHouse are exact",
		GroupID: "answers",
		Long: `Ask ClickHouse whether the totals of pipelines are exact, and print what does not
add up. The proof is in the tables alone: no node and no broker is asked, and rows
of every site count.

For every partition of every site it proves that

  - the segments follow each other without a hole or an overlap; offsets that
    retention deleted are recorded as a gap, with the reason
  - every record is in exactly one place: in a window, late, filtered or rejected
  - the stored windows have just the rows that were counted into them, with the
    values that were shipped, and every rejected record has its dead letter
  - no account was changed by hand, and no rows are without an account

It cannot see records that never reached Kafka, nor what a producer sent twice.

It reads the whole table once. The server is that of --url, or else the pipeline's.
A fault is exit code 5; a ClickHouse that cannot be reached is 4; no rows and no
account at all is 1.`,
		Example: `  weir audit pipeline.yaml
  weir audit --json pipelines/ | jq -e .ok
  weir audit --sql pipeline.yaml | clickhouse-client --multiquery
  weir audit --url clickhouse://reader:secret@central:9000/weir pipeline.yaml`,
		Args: atLeast(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.audit(cmd.Context(), o, args) },
	}
	o.node.add(cmd, "clickhouse")
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "ClickHouse URL, instead of the pipeline's")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "most time one statement may take")
	f.BoolVar(&o.json, "json", false, "print the verdict, every segment and the statements as JSON")
	f.BoolVar(&o.sql, "sql", false, "print the statements, to be run by hand, and ask no server")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if o.timeout <= 0 {
			return usagef(cmd, "--timeout must be more than 0")
		}
		return errors.Join(onlyOne(cmd, "json", "sql"), onlyOne(cmd, "url", "clickhouse"))
	}
	return cmd
}

func (a *app) audit(ctx context.Context, o *audit, args []string) error {
	n, err := o.node.load(a)
	if err != nil {
		return err
	}
	if o.url != "" {
		if err := config.CheckClickHouseURL(o.url); err != nil {
			return &usageError{msg: "--url: " + err.Error()}
		}
	}
	files, err := pipelineFiles(args)
	if err != nil {
		return err
	}
	log := a.logger(n.Log)
	plans, err := a.planFiles(ctx, files, n, noServers, pipeline.Options{Log: log})
	if err == nil {
		err = a.auditPlans(ctx, o, plans, log)
	}
	return closePlans(plans, err)
}

// auditPlans audits one pipeline after the other; a fault in one does not spare the others.
func (a *app) auditPlans(ctx context.Context, o *audit, plans []*pipeline.Plan, log *slog.Logger) error {
	answer := audited{OK: true, Pipelines: []*clickhouse.AuditReport{}}
	var verdict, empty error
	for _, p := range plans {
		cfg, err := o.target(p)
		if err != nil {
			return err
		}
		if o.sql {
			if err := a.printAuditSQL(cfg, p); err != nil {
				return err
			}
			continue
		}
		report, err := auditOne(ctx, cfg, p, log)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Spec.File, err)
		}
		answer.Pipelines = append(answer.Pipelines, report)
		switch {
		case !report.OK:
			verdict = &silentError{exitDiffers}
		case len(report.Partitions) == 0:
			empty = fmt.Errorf("there is nothing to prove: database %s at %s has no rows and no account of pipeline %s; has it run, and is this its ClickHouse?",
				report.Database, cfg.Target(), report.Pipeline)
		}
		if !o.json {
			if err := a.printAudit(report); err != nil {
				return err
			}
		}
	}
	if verdict == nil {
		verdict = empty
	}
	answer.OK = verdict == nil
	if o.json {
		return errors.Join(a.printJSON(answer), verdict)
	}
	return verdict
}

// target is the ClickHouse of a pipeline, as the flags have it.
func (o *audit) target(p *pipeline.Plan) (clickhouse.Config, error) {
	cfg := p.ClickHouse()
	cfg.QueryTimeout = o.timeout
	if o.url != "" {
		cfg.URL = o.url
	}
	if cfg.URL == "" {
		return cfg, config.Errors{p.Spec.ErrorAt("sink.clickhouse", "no ClickHouse URL is known").
			WithHint("give --url, write url: here, clickhouse.url in node.yaml, or set WEIR_CLICKHOUSE")}
	}
	return cfg, nil
}

func auditOne(ctx context.Context, cfg clickhouse.Config, p *pipeline.Plan, log *slog.Logger) (*clickhouse.AuditReport, error) {
	s, err := clickhouse.New(cfg, p.Table, log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	return s.Audit(ctx)
}

// printAuditSQL prints what would be asked. A verdict in capitals is a fault.
func (a *app) printAuditSQL(cfg clickhouse.Config, p *pipeline.Plan) error {
	queries, err := clickhouse.AuditSQL(cfg, p.Table)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Spec.File, err)
	}
	for _, q := range queries {
		if _, err := fmt.Fprintf(a.stdout, "-- %s, %s: %s.\n-- %s\n%s;\n\n", p.Spec.Name, q.Name, q.What, q.Fault, q.SQL); err != nil {
			return err
		}
	}
	return nil
}

// printAudit writes a line per partition, what does not add up, what is worth knowing, and the verdict.
func (a *app) printAudit(r *clickhouse.AuditReport) error {
	if len(r.Partitions) == 0 {
		return nil
	}
	s := newTableSheet(a.stdout)
	if err := s.begin(auditColumns); err != nil {
		return err
	}
	segments, faults, faulty := 0, 0, 0
	var records, lost int64
	for i := range r.Partitions {
		p := &r.Partitions[i]
		segments += len(p.Segments)
		faults += len(p.Faults)
		records += p.RecordsIn
		lost += p.Gap
		verdict := "ok"
		if !p.OK {
			faulty++
			verdict = "FAULT"
		}
		if err := s.row([]any{p.Site, auditTopic(r, p), p.Partition, len(p.Segments), offsets(p), p.RecordsIn, verdict}); err != nil {
			return err
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		where := fmt.Sprintf("%s %s/%d", p.Site, auditTopic(r, p), p.Partition)
		for _, fault := range p.Faults {
			fmt.Fprintf(a.stdout, "FAULT  %s: %s\n", printable(where), printable(fault))
		}
		for _, note := range p.Notes {
			fmt.Fprintf(a.stdout, "note   %s: %s\n", printable(where), printable(note))
		}
	}
	if !r.OK {
		_, err := fmt.Fprintf(a.stdout, "%s: NOT PROVEN: %s in %d of %s\n", r.Pipeline,
			count(faults, "fault"), faulty, count(len(r.Partitions), "partition"))
		return err
	}
	gaps := "no offset is missing"
	if lost > 0 {
		gaps = count(lost, "offset") + " lost, and recorded as lost"
	}
	_, err := fmt.Fprintf(a.stdout, "%s: proven: %s in %s of %s, each in one place; %s; all stored totals are those counted\n",
		r.Pipeline, count(records, "record"), count(segments, "segment"), count(len(r.Partitions), "partition"), gaps)
	return err
}

var auditColumns = []column{
	newColumn("site", "String"), newColumn("topic", "String"), newColumn("partition", "UInt32"), newColumn("segments", "UInt32"),
	newColumn("offsets", "String"), newColumn("records", "Int64"), newColumn("verdict", "String"),
}

// auditTopic is the topic's name, with its ID where there were two topics of that name.
func auditTopic(r *clickhouse.AuditReport, p *clickhouse.PartitionAudit) string {
	for i := range r.Partitions {
		if o := &r.Partitions[i]; o.Topic == p.Topic && o.TopicID != p.TopicID {
			return p.Topic + " (" + p.TopicID + ")"
		}
	}
	return p.Topic
}

// offsets is the first and the last offset that are accounted for.
func offsets(p *clickhouse.PartitionAudit) string {
	if p.End <= p.Start {
		return "none"
	}
	return fmt.Sprintf("%d to %d", p.Start, p.End-1)
}

// count writes a number and what is counted, in the plural where it must be.
func count[T int | int64](n T, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(int64(n)) + " " + what + "s"
}
