package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"

	"github.com/weir-stream/weir/edge-node/failpoint"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// A state lives until it is released, and a little longer so that its release meets it in a merge; one that nobody came
// back for, because its site or pipeline is gone, for a year.
const (
	releasedStateDays  = 7
	abandonedStateDays = 365
)

// stateDef is the table of what stateful steps carry from row to row. A release is a row of the same identity without the
// bytes: the greater value of released wins, so no right to delete or alter is needed.
func stateDef() tableDef {
	received := "toDateTime(received_at)"
	d := tableDef{
		name:    stateTable,
		version: "released",
		order:   []string{"site", "pipeline", "topic", "topic_id", "partition", "rev", "segment", "state_offset", "step"},
		// The columns of the identity that tell partitions apart. A whole identity for each of some small rows would be more
		// than the rows.
		primary: 5,
		ttl: fmt.Sprintf("%s + toIntervalDay(%d), %[1]s + toIntervalDay(%d) WHERE released = 1",
			received, abandonedStateDays, releasedStateDays),
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: what stateful operators remember, by the offset that a replay begins at",
	}
	for _, c := range stateColumns {
		d.columns = append(d.columns, columnDef{name: c[0], typ: c[1], codec: c[2]})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"})
	return d
}

// stateColumns are the columns weir writes, with types and codecs, in the order insertStatePage fills them.
var stateColumns = [][3]string{
	{"site", "String", ""},
	{"pipeline", "String", ""},
	{"rev", "UInt64", ""},
	{"topic", "String", ""},
	{"topic_id", "UUID", ""},
	{"partition", "UInt32", ""},
	{"segment", "UInt64", ""},
	{"state_offset", "Int64", ""},
	{"step", "String", ""},
	{"released", "UInt8", ""},
	{"state", "String", "ZSTD(1)"},
	{"hash", "String", ""},
	{"node", "String", ""},
}

// maxStateBytes bounds one insert of states.
const maxStateBytes = 16 << 20

// stateRow is a state and the partition it is of.
type stateRow struct {
	partition batch.Partition
	*sink.StepState
}

// insertStates stores the states of every cut that is not rejected. They come before anything that relies on them.
func (w *write) insertStates(ctx context.Context) error {
	var page []stateRow
	size := 0
	for i, c := range w.cuts {
		if _, rejected := w.rejected[i]; rejected {
			continue
		}
		for j := range c.States {
			s := &c.States[j]
			if len(page) > 0 && size+len(s.Bytes) > maxStateBytes {
				if err := w.insertStatePage(ctx, page); err != nil {
					return err
				}
				page, size = page[:0], 0
			}
			page = append(page, stateRow{c.Coverage.Partition, s})
			size += len(s.Bytes)
		}
	}
	if err := w.insertStatePage(ctx, page); err != nil {
		return err
	}
	if len(page) > 0 {
		failpoint.Hit(failpoint.InsertStates)
	}
	return nil
}

func (w *write) insertStatePage(ctx context.Context, page []stateRow) error {
	if len(page) == 0 {
		return nil
	}
	def := w.layout.states()
	if def == nil {
		return &sink.Error{Class: sink.Stop, Err: errors.New("a cut has states, and the table was planned without")}
	}
	columns := make([]string, len(stateColumns))
	for i, c := range stateColumns {
		columns[i] = c[0]
	}
	hashes := make([]string, len(page))
	tok := newToken(qualified(w.cfg.Database, stateTable))
	for i, r := range page {
		hashes[i] = w.stateHash(r.partition, r.StateKey, r.Step, r.Bytes)
		tok.text(hashes[i])
		tok.uint(uint64(flag(r.Released)))
	}
	err := w.insert(ctx, def, columns, tok, len(page), func(b driver.Batch) error {
		for i, r := range page {
			if err := b.Append(
				w.table.Site, w.table.Pipeline, r.Revision, r.partition.Topic, uuid.UUID(r.partition.TopicID),
				uint32(r.partition.ID), r.Segment, r.Offset, r.Step, flag(r.Released), r.Bytes, hashes[i], w.table.Node,
			); err != nil {
				return err
			}
		}
		return nil
	})
	var e *sink.Error
	if errors.As(err, &e) && e.Class == sink.Reject {
		// Any bytes fit these columns, so it is the table that does not.
		return &sink.Error{Class: sink.Stop, Err: e.Err, Hint: "look at the constraints of the table"}
	}
	return err
}

func flag(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// stateHash guards a state against damage and against being taken for another one: SHA-256 of its identity as text, each
// part followed by a line feed, and its bytes.
func (s *Sink) stateHash(p batch.Partition, k sink.StateKey, step string, state []byte) string {
	h := sha256.New()
	h.Write([]byte(strings.Join([]string{
		s.table.Site, s.table.Pipeline, strconv.FormatUint(k.Revision, 10), p.Topic, uuid.UUID(p.TopicID).String(),
		strconv.FormatInt(int64(p.ID), 10), strconv.FormatUint(k.Segment, 10), strconv.FormatInt(k.Offset, 10), step, "",
	}, "\n")))
	h.Write(state)
	return hex.EncodeToString(h.Sum(nil))
}

// States reads what is stored of a partition's stateful steps; see sink.Sink.
func (s *Sink) States(ctx context.Context, p batch.Partition, at sink.StateKey) ([]sink.StepState, error) {
	op := fmt.Sprintf("read the states of %s", p)
	wanted := fmt.Sprintf("rev = %d AND segment = %d AND state_offset = %d", at.Revision, at.Segment, at.Offset)
	sql := fmt.Sprintf(`SELECT rev, segment, state_offset, step, if(%s, state, ''), hash
FROM %s FINAL
WHERE site = %s AND pipeline = %s AND topic = %s AND topic_id = %s AND partition = %d AND released = 0
ORDER BY rev, segment, state_offset, step`, wanted,
		qualified(s.cfg.Database, stateTable), quote(s.table.Site), quote(s.table.Pipeline),
		quote(p.Topic), quote(uuid.UUID(p.TopicID).String()), p.ID)
	var all []sink.StepState
	var damaged error
	err := s.query(ctx, op, sql, func(rows driver.Rows) error {
		st, hash := sink.StepState{}, ""
		if err := rows.Scan(&st.Revision, &st.Segment, &st.Offset, &st.Step, &st.Bytes, &hash); err != nil {
			return err
		}
		if st.StateKey != at {
			st.Bytes = nil
		} else if s.stateHash(p, st.StateKey, st.Step, st.Bytes) != hash && damaged == nil {
			damaged = fmt.Errorf("%s: the state of step %s at offset %d does not have its hash: %w", op, st.Step, st.Offset, sink.ErrDamaged)
		}
		all = append(all, st)
		return nil
	})
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	return all, damaged
}
