package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/sink/clickhouse"
)

// shownPayload is how many bytes of a payload a terminal is given. --raw and --json have all.
const shownPayload = 4096

func (a *app) dlqShow() *cobra.Command {
	d := &dlq{}
	raw, asJSON := false, false
	cmd := &cobra.Command{
		Use:   "show FILE [TOPIC/PARTITION/OFFSET...]",
		Short: "Show dead letters with their payload",
		Long: `Show dead letters: where the record is, why it went no further, its key and its
payload, as text or, where it is not text, as a hex dump of up to 4 KiB.

Of a payload of more than 64 KiB only the beginning is kept, which is said. --raw
writes the payload of one record, byte for byte.
` + dlqFilterLong,
		Example: `  weir dlq show pipeline.yaml
  weir dlq show pipeline.yaml sensors/3/48211
  weir dlq show --reason malformed --partition 3 --limit 1 pipeline.yaml
  weir dlq show --raw pipeline.yaml sensors/3/48211 > record.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args[min(1, len(args)):] {
				r, err := letterRecord(arg)
				if err != nil {
					return usagef(cmd, "%v", err)
				}
				d.filter.Records = append(d.filter.Records, r)
			}
			return atLeast(1, "a pipeline file")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.showLetters(cmd.Context(), d, args[0], raw, asJSON)
		},
	}
	d.add(cmd, 10, "letters to show at most; 0 is all")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the payload of one record, byte for byte")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line; a payload that is not text is in payload_base64")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		return errors.Join(d.parse(cmd), onlyOne(cmd, "raw", "json"))
	}
	return cmd
}

func (a *app) showLetters(ctx context.Context, d *dlq, file string, raw, asJSON bool) error {
	p, _, letters, err := d.open(a, file)
	if err != nil {
		return err
	}
	defer func() { _ = letters.Close() }()
	w := letterWriter{app: a, json: asJSON, raw: raw}
	limit := d.limit
	if raw {
		limit = 0 // a second record is an error, and not left out
	}
	if err := letters.Read(ctx, &d.filter, clickhouse.WithContents, limit, w.write); err != nil {
		return fmt.Errorf("%s: %w", p.File, err)
	}
	if w.shown == 0 && !asJSON {
		return fmt.Errorf("%s has no dead letters%s", p.Name, d.chosen())
	}
	if raw {
		if w.last.Truncated {
			fmt.Fprintf(a.stderr, "the payload of %s is only the first %d bytes of its record\n", w.last.Record(), len(w.last.Payload))
		}
		_, err := a.stdout.Write(w.last.Payload)
		return err
	}
	if w.shown == d.limit && !asJSON {
		fmt.Fprintf(a.stderr, "there may be more: --limit %d\n", d.limit)
	}
	return nil
}

// letterWriter writes letters one after the other.
type letterWriter struct {
	*app
	json, raw bool
	shown     int
	last      *clickhouse.Letter // with raw
}

func (w *letterWriter) write(d *clickhouse.Letter) error {
	w.shown++
	switch {
	case w.raw:
		if w.last != nil && (w.last.Record() != d.Record() || !bytes.Equal(w.last.Payload, d.Payload)) {
			return &usageError{
				msg:  "--raw writes the payload of one record, and more than one fits: name it as topic/partition/offset, for example " + d.Record().String(),
				help: "weir dlq show --help",
			}
		}
		w.last = d
		return nil
	case w.json:
		return w.writeJSON(d)
	}
	if w.shown > 1 {
		fmt.Fprintln(w.stdout)
	}
	return w.writeText(d)
}

// writeText is a letter for people.
func (w *letterWriter) writeText(d *clickhouse.Letter) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-9s%s\n", name, clip(printable(fmt.Sprintf(format, args...))))
	}
	line("record", "%s", d.Record())
	line("reason", "%s", d.Reason)
	line("step", "%s", d.Step)
	line("detail", "%s", d.Detail)
	line("time", "%s", d.Time.UTC().Format(time.RFC3339Nano))
	line("from", "site %s, node %s, revision %016x, segment %d", d.Site, d.Node, d.Revision, d.Segment)
	if r := d.Replayed; r != nil {
		line("replayed", "to %s/%d/%d at %s", r.Topic, r.Partition, r.Offset, r.At.UTC().Format(time.RFC3339))
	} else if s := d.Sending; s != nil {
		line("replayed", "perhaps, to %s/%d: a replay ended before that was noted", s.Topic, s.Partition)
	}
	if len(d.Key) > 0 {
		if isText(d.Key) {
			line("key", "%s", d.Key)
		} else {
			line("key", "0x%x", d.Key)
		}
	}
	what := count(len(d.Payload), "byte")
	if d.Row {
		what += ", a row as JSON"
	}
	if d.Truncated {
		what += ", TRUNCATED: only the beginning was kept"
	}
	line("payload", "%s", what)
	if _, err := io.WriteString(w.stdout, b.String()); err != nil {
		return err
	}
	return w.writePayload(d.Payload)
}

func (w *letterWriter) writePayload(p []byte) error {
	more := max(0, len(p)-shownPayload)
	var b strings.Builder
	if isText(p) {
		cut := p[:len(p)-more]
		for more > 0 && len(cut) > 0 && !utf8.Valid(cut) {
			cut = cut[:len(cut)-1]
		}
		for line := range strings.Lines(string(cut)) {
			b.WriteString("  " + printable(strings.TrimRight(line, "\r\n")) + "\n")
		}
	} else {
		for line := range strings.Lines(hex.Dump(p[:len(p)-more])) {
			b.WriteString("  " + line)
		}
	}
	if more > 0 {
		fmt.Fprintf(&b, "  … %s more: --raw writes all\n", count(more, "byte"))
	}
	_, err := io.WriteString(w.stdout, b.String())
	return err
}

// isText tells whether bytes are text that a terminal can show.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' && r != '\r' }) < 0
}

// shownLetter is a letter as JSON.
type shownLetter struct {
	clickhouse.LetterID
	Time          time.Time                `json:"time"`
	Reason        string                   `json:"reason"`
	Detail        string                   `json:"detail"`
	Node          string                   `json:"node"`
	ReceivedAt    time.Time                `json:"received_at"`
	Key           *string                  `json:"key,omitempty"`
	KeyBase64     string                   `json:"key_base64,omitempty"`
	Payload       *string                  `json:"payload,omitempty"`
	PayloadBase64 string                   `json:"payload_base64,omitempty"`
	Truncated     bool                     `json:"truncated"`
	Row           bool                     `json:"is_row"`
	Replayed      *clickhouse.LetterTarget `json:"replayed,omitempty"`
	Sending       *clickhouse.LetterTarget `json:"sending,omitempty"`
}

func (w *letterWriter) writeJSON(d *clickhouse.Letter) error {
	s := shownLetter{
		LetterID: d.LetterID, Time: d.Time.UTC(), Reason: d.Reason, Detail: d.Detail, Node: d.Node, ReceivedAt: d.ReceivedAt.UTC(),
		Truncated: d.Truncated, Row: d.Row, Replayed: d.Replayed, Sending: d.Sending,
	}
	s.Key, s.KeyBase64 = textOrBase64(d.Key)
	s.Payload, s.PayloadBase64 = textOrBase64(d.Payload)
	return w.printJSONLine(s)
}

// textOrBase64 gives bytes as they are where they are UTF-8, and in base 64 where JSON would change them.
func textOrBase64(b []byte) (*string, string) {
	if !utf8.Valid(b) {
		return nil, base64.StdEncoding.EncodeToString(b)
	}
	s := string(b)
	return &s, ""
}
