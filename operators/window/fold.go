package window

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/aggregate"
)

// externals is what taking rows into the aggregates of the user's needs, reused from batch to batch. A pipeline without
// any has none of it.
type externals struct {
	of   []int            // which of the aggregates
	cols [][]batch.Column // arguments of each of them, of the batch at hand

	live   []int32 // rows of the batch that belong to a group
	rows   []int32 // of a chunk: row numbers, group by group
	groups []int32 // of a chunk: the group of each of rows, numbered from 0
	ids    []uint32
	starts []int32

	mark []uint64 // by group: the chunk it was in last, and its number there
	turn uint32
}

func (x *externals) init(cfg *Config) {
	for i, a := range cfg.Aggregate {
		if a.Finish == aggregate.Outside {
			x.of = append(x.of, i)
			x.cols = append(x.cols, make([]batch.Column, len(a.Args)))
		}
	}
}

// shippable is how many groups of a window have changed. Those whose rows were all rejected have nothing to ship.
func (w *Tumbling) shippable(p *pane) int {
	if len(w.external.of) == 0 {
		return len(p.dirty)
	}
	kept := p.dirty[:0]
	for _, g := range p.dirty {
		if w.groups.count(g) == 0 {
			w.groups.clean(g)
			continue
		}
		kept = append(kept, g)
	}
	p.dirty = kept
	return len(kept)
}

// fold takes the rows of the batch into the aggregates of the user's. A row on which one of them fails becomes a reject
// and is in none of the aggregates of the window: it is taken out of rowOf before the others see it.
//
// Which rows these are must not depend on how rows were cut into batches. So rows are taken in order, as many at once as
// can be, and new states are put in place only when every program took the same rows. Where one fails the stretch is
// halved, down to the one row that is at fault with the states that the rows before it made. Behind that row, stretches
// grow from one again.
func (w *Tumbling) fold(ctx context.Context, b *batch.Batch, n *operators.Counts) error {
	x := &w.external
	for k, i := range x.of {
		for j, c := range w.cfg.Aggregate[i].Args {
			x.cols[k][j] = b.Cols[c]
		}
	}
	x.live = x.live[:0]
	for i, g := range w.rowOf {
		if g != aggregate.Skip {
			x.live = append(x.live, int32(i))
		}
	}
	length, most := len(x.live), len(x.live)
	for at := 0; at < len(x.live); {
		end := min(len(x.live), at+length)
		w.sort(x.live[at:end])
		culprit, err := w.foldSorted(ctx)
		if err == nil {
			at, length = end, min(2*length, most)
			continue
		}
		var bad *aggregate.RowError
		switch {
		case !errors.As(err, &bad):
			return fmt.Errorf("aggregate %s: %w", w.cfg.Aggregate[culprit].Name, err)
		case end-at > 1 && (bad.Full || !w.cfg.Aggregate[culprit].Stop):
			length = (end - at) / 2
			if bad.Full {
				most = length
			}
		case w.cfg.Aggregate[culprit].Stop:
			return fmt.Errorf("aggregate %s: %w", w.cfg.Aggregate[culprit].Name, err)
		default:
			w.rejectRow(b, int(x.live[at]), w.cfg.Aggregate[culprit].Name, bad.Detail)
			n.Aggregated--
			at, length = at+1, 1
		}
	}
	for k := range x.cols {
		clear(x.cols[k])
	}
	return nil
}

// sort numbers the groups of rows in the order they come, and puts the rows of each together.
func (w *Tumbling) sort(rows []int32) {
	x := &w.external
	if room := w.groups.slab.Room(); len(x.mark) < room {
		x.mark = append(x.mark, make([]uint64, room-len(x.mark))...)
	}
	x.turn++
	if x.turn == 0 {
		clear(x.mark)
		x.turn = 1
	}
	x.ids, x.starts = x.ids[:0], x.starts[:0]
	for _, r := range rows {
		g := w.rowOf[r]
		if uint32(x.mark[g]>>32) != x.turn {
			x.mark[g] = uint64(x.turn)<<32 | uint64(len(x.ids))
			x.ids, x.starts = append(x.ids, g), append(x.starts, 0)
		}
		x.starts[uint32(x.mark[g])]++
	}
	sum := int32(0)
	for i, count := range x.starts {
		x.starts[i], sum = sum, sum+count
	}
	x.rows, x.groups = grow(x.rows, len(rows)), grow(x.groups, len(rows))
	for _, r := range rows {
		local := uint32(x.mark[w.rowOf[r]])
		to := x.starts[local]
		x.starts[local]++
		x.rows[to], x.groups[to] = r, int32(local)
	}
}

// foldSorted takes the sorted rows into every program, or into none. It returns the aggregate that failed.
func (w *Tumbling) foldSorted(ctx context.Context) (culprit int, err error) {
	x := &w.external
	for k, i := range x.of {
		a := w.groups.acc[i].(*aggregate.External)
		if err := a.Prepare(ctx, x.cols[k], x.rows, x.groups, x.ids); err != nil {
			return i, err
		}
	}
	for _, i := range x.of {
		if err := w.groups.acc[i].(*aggregate.External).Commit(x.ids); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// rejectRow takes a row out of the window again.
func (w *Tumbling) rejectRow(b *batch.Batch, i int, name, detail string) {
	b.Reject(i, "window "+name, batch.ReasonOperator, detail)
	w.keepRow(b, i)
	*w.groups.rows(w.rowOf[i])--
	w.rowOf[i] = aggregate.Skip
}
