package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/deadletter"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/ingest/batch"
)

// dlqReplay is one call of the command.
type dlqReplay struct {
	dlq
	opts      deadletter.Options
	toSource  bool
	yes, json bool
}

func (a *app) dlqReplay() *cobra.Command {
	r := &dlqReplay{}
	cmd := &cobra.Command{
		Use:   "replay FILE (--to-source | --to-topic TOPIC)",
		Short: "Send the records of dead letters again",
		Long: `Send the records of dead letters to Kafka again, after the pipeline or its operators
were mended: to the topics and partitions they came from, or to another topic.

A replayed record is a new record. What becomes of it is counted at its new offset,
and the rejected one stays counted as rejected, so totals and 'weir audit' stay right.
It has the key and the time of the old one, and the header weir-dlq-origin says which
that was, as topic/partition/offset.

A letter is noted as replayed, and not sent again, unless --again says so. That holds
too where a replay is killed half-way: the next one finds in the topic what was sent.
It sends in transactions: consumers that read committed records see each once.

What a letter has only the beginning of is taken from the log, where that still has
it; --original takes every record from there, with its headers. What cannot be sent
is named, and the exit code is 1. Late records would be late again in their own
topic: they are left out, unless --reason late asks for them.
` + dlqFilterLong,
		Example: `  weir dlq replay --to-source --reason malformed --dry-run pipeline.yaml
  weir dlq replay --to-source --step '2 wasm calibrate' --since 2d --yes pipeline.yaml
  weir dlq replay --to-topic sensors-mended --original pipeline.yaml`,
		Args: exactly(1, "a pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.replayLetters(cmd.Context(), r, args[0]) },
	}
	r.add(cmd, 0, "records to send at most; 0 is all")
	f := cmd.Flags()
	f.BoolVar(&r.toSource, "to-source", false, "send to the topics and partitions they came from")
	f.StringVar(&r.opts.Topic, "to-topic", "", "send to this topic, by key")
	f.BoolVar(&r.opts.Original, "original", false, "take records from the log they came from, with their headers")
	f.BoolVar(&r.opts.Again, "again", false, "send also what was sent before")
	f.BoolVar(&r.opts.DryRun, "dry-run", false, "say what would be sent, and send nothing")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.json, "json", false, "print what was done as JSON")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if r.toSource == (r.opts.Topic != "") {
			return usagef(cmd, "say where to: either --to-source or --to-topic TOPIC")
		}
		if !r.yes && !r.opts.DryRun && !terminal(a.stdin) {
			return usagef(cmd, "nobody can be asked here: give --yes, or --dry-run to see what would be sent")
		}
		return r.parse(cmd)
	}
	return cmd
}

func (a *app) replayLetters(ctx context.Context, r *dlqReplay, file string) error {
	p, node, letters, err := r.open(a, file)
	if err != nil {
		return err
	}
	defer func() { _ = letters.Close() }()
	if err := p.Use(node); err != nil && len(p.Source.Kafka.Brokers) == 0 {
		return err
	}
	resender, err := pipeline.Resender(p, node, a.logger(node.Log))
	if err != nil {
		return err
	}
	defer resender.Close()
	brokers := strings.Join(p.Source.Kafka.Brokers, ",")
	if err := resender.Ping(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		return &unreachableError{fmt.Errorf("ask Kafka at %s: %w", brokers, err), ""}
	}
	r.opts.Filter, r.opts.Limit, r.opts.Late = r.filter, r.limit, r.filter.Reason == string(batch.ReasonLate)
	target := "the topics they came from"
	if r.opts.Topic != "" {
		target = "topic " + printable(r.opts.Topic)
	}
	if !r.yes && !r.opts.DryRun {
		counted, err := letters.Purgeable(ctx, &r.filter)
		if err != nil {
			return fmt.Errorf("%s: %w", p.File, err)
		}
		if counted.Letters == 0 {
			return fmt.Errorf("%s has no dead letters%s", p.Name, r.chosen())
		}
		question := fmt.Sprintf("send the records of %s, but for those that were sent before, to %s at %s?", count(counted.Letters, "dead letter"), target, brokers)
		if err := a.confirm(question); err != nil {
			return err
		}
	}
	replay := deadletter.New(letters, resender, r.opts)
	if terminal(a.stderr) {
		replay.Progress = func(sent, all int) {
			fmt.Fprintf(a.stderr, "\r\x1b[2Ksent %s of %s", thousands(int64(sent)), count(all, "record"))
		}
		defer fmt.Fprint(a.stderr, "\r\x1b[2K")
	}
	result, err := replay.Run(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", p.File, err)
	} else if len(result.Refused) > 0 {
		err = &silentError{exitFailed}
	}
	if r.json {
		return errors.Join(a.printJSON(result), err)
	}
	a.printLetterReplay(&result, target)
	return err
}

// maxRefusals is how many records that could not be sent are named. --json has all.
const maxRefusals = 50

func (a *app) printLetterReplay(r *deadletter.Result, target string) {
	for i, refused := range r.Refused {
		if i == maxRefusals {
			fmt.Fprintf(a.stderr, "and %s more\n", count(len(r.Refused)-i, "record"))
			break
		}
		fmt.Fprintf(a.stderr, "not sent: %s: %s\n", printable(refused.Record), printable(refused.Why))
	}
	said := "sent"
	if r.DryRun {
		said = "would send"
	}
	fmt.Fprintf(a.stdout, "%s %s (%s) to %s\n", said, count(r.Records, "record"), count(r.Letters, "dead letter"), target)
	for _, line := range []struct {
		n    int
		what string
	}{
		{r.Found, "had been sent by a replay that ended before it could note so, and are noted now"},
		{r.Replayed, "left out: sent before, --again sends them again"},
		{r.Late, "left out: late ones, which would be late again there; --reason late sends them"},
		{len(r.Refused), "could not be sent"},
	} {
		if line.n > 0 {
			fmt.Fprintf(a.stdout, "%s: %s\n", thousands(int64(line.n)), line.what)
		}
	}
}

// confirm asks on the terminal. Anything but yes ends the command.
func (a *app) confirm(question string) error {
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	fmt.Fprintln(a.stderr, "nothing was done")
	return &silentError{exitFailed}
}
