package replay

import (
	"bytes"
	"context"
	"strings"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// letterKey is a dead letter's identity within a segment.
type letterKey struct {
	offset int64
	step   string
	index  int32
}

func keyOf(d *sink.DeadLetter) letterKey { return letterKey{d.Offset, d.Step, d.Index} }

// Why dead letters are not compared.
const (
	skipClock         = "they are about event time, and their records come before its clock is known"
	skipLetterExpired = "the table drops dead letters so old"
	skipUnplaced      = "no step could name their records, so only those of a whole segment can be counted"
	skipPurged        = "they were purged"
	skipDropped       = "no late row of the segment has one: late rows were dropped then"
)

// timed tells whether a reason depends on the clock.
func timed(why batch.Reason) bool { return why == batch.ReasonLate || why == batch.ReasonFuture }

// compareLetters compares the dead letters of records at offsets in [from, to) with those stored.
func (p *pass) compareLetters(ctx context.Context, from, to int64) error {
	local := map[letterKey]*sink.DeadLetter{}
	letters := p.cfg.Rebuild.Letters()
	kept := letters[:0]
	for _, d := range letters {
		switch {
		case d.Offset < p.settled && timed(d.Reason):
			p.out.skip("dead letters", skipClock, 1)
			continue
		case d.Reason == batch.ReasonLate && !p.lateLetters:
			p.out.skip("dead letters", skipDropped, 1)
			continue
		}
		kept = append(kept, d)
	}
	for i := range kept {
		local[keyOf(&kept[i])] = &kept[i]
	}
	var send []sink.DeadLetter
	purged := map[letterKey]bool{}
	err := p.cfg.Stored.DeadLetters(ctx, p.of, from, to, func(d sink.DeadLetter, gone bool) error {
		if d.Offset < p.settled && timed(d.Reason) || d.Reason == batch.ReasonLate && !p.lateLetters {
			return nil
		}
		key := keyOf(&d)
		have := local[key]
		switch {
		case gone && have != nil:
			delete(local, key)
			purged[key] = true
			p.out.skip("dead letters", skipPurged, 1)
			return nil
		case gone:
			p.purged[engine.LetterKind{Step: d.Step, Reason: d.Reason}]++
			return nil
		case purged[key]: // it came back
			return nil
		case have == nil, d.Row && !have.Row: // no step could name the record of such a row, and its offset is another's
			p.stray(&d)
			return nil
		}
		delete(local, key)
		cols := unequalLetters(have, &d)
		if len(cols) == 0 {
			p.out.Letters.Identical++
			return nil
		}
		p.out.Letters.Differing++
		offset := d.Offset
		p.out.differ(Difference{Kind: "differs", Offset: &offset, Step: d.Step, Columns: cols, Sent: p.send != nil})
		if p.send != nil {
			send = append(send, *have)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range kept {
		d := &kept[i]
		if local[keyOf(d)] != d {
			continue
		}
		if age := p.cfg.Now.Sub(d.Time); p.cfg.DeadLetters > 0 && age > p.cfg.DeadLetters {
			p.out.skip("dead letters", skipLetterExpired, 1)
			continue
		}
		p.out.Letters.Missing++
		p.out.differ(Difference{Kind: "missing", Offset: &d.Offset, Step: d.Step, Sent: p.send != nil, Columns: []Values{{Column: "reason", Log: text(string(d.Reason))}}})
		if p.send != nil {
			send = append(send, *d)
		}
	}
	if len(send) == 0 {
		return nil
	}
	p.out.Letters.Sent += int64(len(send))
	return p.send(ctx, nil, send)
}

// unequalLetters lists in what two dead letters differ. The detail is for people, and not compared.
func unequalLetters(log, stored *sink.DeadLetter) []Values {
	var out []Values
	add := func(column string, same bool, a, b string) {
		if !same {
			out = append(out, Values{Column: column, Log: text(a), Stored: text(b)})
		}
	}
	add("reason", log.Reason == stored.Reason, string(log.Reason), string(stored.Reason))
	add("record_key", bytes.Equal(log.Key, stored.Key), string(log.Key), string(stored.Key))
	add("payload", bytes.Equal(log.Payload, stored.Payload) && log.Truncated == stored.Truncated, string(log.Payload), string(stored.Payload))
	return out
}

// maxLetterText bounds how much of a payload a difference shows.
const maxLetterText = 200

func text(s string) []byte {
	if len(s) > maxLetterText {
		s = s[:maxLetterText] + "…"
	}
	return jsonText(strings.ToValidUTF8(s, "\uFFFD"))
}

// stray counts a stored dead letter that cannot be found among those of the log: because the log does not give it, or because no
// step could name its record.
func (p *pass) stray(d *sink.DeadLetter) {
	if d.Row {
		p.rows[engine.LetterKind{Step: d.Step, Reason: d.Reason}]++
		return
	}
	p.out.Letters.Surplus++
	offset := d.Offset
	p.out.differ(Difference{Kind: "surplus", Offset: &offset, Step: d.Step, Columns: []Values{{Column: "reason", Stored: text(string(d.Reason))}}})
}

// endLetters compares the dead letters whose records no step could name: in number, since where they are depends on how batches
// were cut.
func (p *pass) endLetters() {
	unplaced := p.cfg.Rebuild.Unplaced()
	if p.from > p.of.Start || p.changed > p.from || p.to < p.of.Version {
		for _, n := range unplaced {
			p.out.skip("dead letters", skipUnplaced, n)
		}
		return
	}
	for kind, n := range unplaced {
		if kind.Reason == batch.ReasonLate && !p.lateLetters {
			p.out.skip("dead letters", skipDropped, n)
			continue
		}
		have := p.rows[kind]
		if gone := min(p.purged[kind], max(0, n-have)); gone > 0 {
			p.out.skip("dead letters", skipPurged, gone)
			n -= gone
		}
		p.out.Letters.Identical += min(n, have)
		p.out.Letters.Missing += max(0, n-have)
		if n > have && p.send != nil {
			p.out.note("%d dead letters of step %s (%s) are missing, and are not stored again: their records are not known", n-have, kind.Step, kind.Reason)
		}
	}
	for kind, have := range p.rows {
		p.out.Letters.Surplus += max(0, have-unplaced[kind])
	}
}
