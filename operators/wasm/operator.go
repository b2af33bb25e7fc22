package wasm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/abi"
)

// errFull says that a call needs fewer rows: the guest said so, the input does not fit the windows, or there are more rows
// than a guest is given at once.
var errFull = errors.New("the rows do not fit the operator's windows")

// operator is an instance of a step: a guest, its windows, and what is reused from batch to batch. When a call fails the
// guest is replaced; the operator stays.
type operator struct {
	step *Step
	env  operators.Env
	fd   bool // the pool is mapped, not copied

	g     *guest
	fresh bool // the guest has not run yet
	log   *journal
	state state
	wins  windows
	// rowMax is how many bytes of strings and lists a row may have. A row with more is rejected.
	rowMax int
	call   exporter
	im     importer
	checks checks

	bytesCopied, instances, ended, traps, retries, fuel, logDropped atomic.Int64
}

var (
	_ operators.Metered  = (*operator)(nil)
	_ operators.Releaser = (*operator)(nil)
)

// windows are the parts of a guest's memory that the host uses, as offsets from one block that the guest allocated.
type windows struct {
	in, inLen   uint32 // the pool; or room for the copied input
	out, outLen uint32 // the own range; or room for one output
	scratch     uint32 // the ArrowArray structs
	rows        uint32 // the row column
	rowsFilled  int    // rows of it that are written
	// spill is where input buffers go that are not in the mapped pool; without a mapping, all do, and it is in.
	spill, spillLen uint32
	total           int
}

// Open makes an instance. See [operators.Step].
func (s *Step) Open(ctx context.Context, env operators.Env) (operators.Operator, error) {
	_, shared := env.Pool.FD()
	o := &operator{step: s, env: env, fd: shared && s.cfg.Transport == Auto, log: s.journal(env.Log)}
	if err := o.open(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// open plans the windows and starts the first guest, unless that may wait.
func (o *operator) open(ctx context.Context) error {
	if err := o.plan(); err != nil {
		return err
	}
	o.call = newExporter(o.step.in)
	o.im = newImporter(o.step.fields, len(o.step.in.Fields)+1)
	o.im.ownMax = uint64(o.step.cfg.MemoryLimit)
	if o.env.Lazy {
		return nil
	}
	return o.ensure(ctx)
}

// Release gives up the guest, and that in the interpreter: the next batch makes new ones. See [operators.Releaser].
func (o *operator) Release() bool {
	if o.g == nil && o.checks.twin == nil {
		return false
	}
	if err := o.settle(); err != nil {
		return false // the next batch says so, or the next snapshot
	}
	o.checks.close()
	o.checks.guest = nil
	if o.g != nil {
		o.discard()
	}
	return true
}

// maxRowBytes bounds what a row may have for strings, whatever the pool has room for.
const maxRowBytes = 256 << 20

// plan sizes the windows. All sizes follow from the configuration, and none from a batch.
func (o *operator) plan() error {
	page := func(n int) int { return (n + abi.PageSize - 1) &^ (abi.PageSize - 1) }
	// A batch has buffers in one slot of each range at most. So much one row may have, wherever it is: how records were cut
	// into batches decides whether it is in the pool or on the heap.
	if o.rowMax == 0 { // not a twin, whose pool is another
		for i := range o.env.Pool.Ranges() {
			o.rowMax += o.env.Pool.Range(i).SlotSize()
		}
		o.rowMax = min(o.rowMax, maxRowBytes)
	}
	spill := page(o.rowMax + maxBuffers*batch.Align*len(o.step.in.Fields))
	in, out := page(o.env.Pool.Size()), page(o.env.Range.Len)
	if !o.fd {
		in, out = spill, page(o.env.Range.SlotSize())
	}
	scratch, rows := page(arraysSize(exported(o.step.in))), page(len(o.step.rows))
	total := in + out + scratch + rows
	if o.fd {
		total += spill
	}
	if total > 1<<31 {
		return fmt.Errorf("%s: its windows need %d MiB, over 2 GiB: use smaller batches or fewer steps", o.step.cfg.Name, total>>20)
	}
	o.wins = windows{inLen: uint32(in), outLen: uint32(out), spillLen: uint32(spill), total: total}
	return nil
}

// ensure makes a guest with its windows if there is none.
func (o *operator) ensure(ctx context.Context) error {
	if o.g != nil {
		return nil
	}
	// Beside the windows, what an allocator needs to align them.
	g, returns, err := o.step.start(ctx, o.log, o.wins.total+2*abi.PageSize+o.state.room(), o.fd)
	if err != nil {
		return err
	}
	o.instances.Add(1)
	problem := "cannot be given its windows"
	if err = o.place(g, returns); err == nil && len(o.state.saved) > 0 {
		problem = "cannot be given back its state"
		err = g.restore(o.state.saved)
	}
	o.fuel.Add(g.tank.take())
	if err != nil {
		g.close()
		o.ended.Add(1)
		return &ModuleError{Module: o.step.cfg.label(), Problem: problem, Err: err}
	}
	o.g, o.fresh = g, true
	return nil
}

// place has the guest allocate its windows, maps them, and tells it where they are.
func (o *operator) place(g *guest, returns *batch.Schema) error {
	if !returns.Equal(&batch.Schema{Fields: o.step.fields}) {
		return fmt.Errorf("it returned another schema than before: %s; was %s", returns, &batch.Schema{Fields: o.step.fields})
	}
	at, err := g.alloc(o.wins.total)
	if err != nil {
		return err
	}
	w := &o.wins
	w.in = at
	w.out = at + w.inLen
	w.scratch = w.out + w.outLen
	w.rows = w.scratch + uint32((arraysSize(exported(o.step.in))+abi.PageSize-1)&^(abi.PageSize-1))
	w.rowsFilled = 0
	if w.spill = w.in; o.fd {
		w.spill = at + uint32(w.total) - w.spillLen
	}
	if o.fd {
		if err := mapWindows(g.mem, o.env.Pool, o.env.Range, w.in, w.out); err != nil {
			return err
		}
	}
	_, err = g.call(g.mod.ExportedFunction(abi.ExportWindows), uint64(w.in), uint64(w.inLen), uint64(w.out), uint64(w.outLen))
	return err
}

// process runs the batch through the guest, once.
func (o *operator) process(ctx context.Context, b *batch.Batch) error {
	if !b.Schema.Equal(o.step.in) {
		return fmt.Errorf("the batch has the schema %s, not %s", b.Schema, o.step.in)
	}
	if b.Rows == 0 {
		o.empty(b)
		return nil
	}
	r, err := o.attempt(ctx, b)
	if err == nil {
		o.apply(b, r)
		return nil
	}
	if o.splits(err) {
		err = o.split(ctx, b, err)
	}
	return err
}

// splits tells whether a failure is answered by trying fewer rows. Where failures stop the pipeline, only those do that
// rows can have together and not alone.
func (o *operator) splits(err error) bool {
	var ce *CallError
	switch {
	case errors.Is(err, errFull):
		return true
	case !errors.As(err, &ce) || ce.Fault == FaultDeadline || ce.Fault == FaultState:
		return false
	default:
		return o.step.cfg.OnError == Reject || ce.Fault == FaultFuel
	}
}

// attempt runs the guest on the batch, which stays as it is. A failed guest is replaced; if it was not a fresh one, the
// call is made once more, since what failed may have been left behind by earlier calls. So a row by itself fails in a
// fresh guest only, and its fate is a function of that row.
func (o *operator) attempt(ctx context.Context, b *batch.Batch) (result, error) {
	if b.Rows > o.step.cfg.MaxRows || o.oversized(b) {
		return result{}, errFull
	}
	if err := o.settle(); err != nil {
		return result{}, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return result{}, err
		}
		if err := o.ensure(ctx); err != nil {
			return result{}, err
		}
		fresh := o.fresh
		o.fresh = false
		slot, err := o.env.Range.Acquire()
		if err != nil {
			return result{}, err
		}
		r, err := o.once(b, slot, o.step.cfg.fuelFor(b.Rows, fresh))
		if err == nil {
			o.state.behind = o.step.module.stateful
			return r, nil
		}
		slot.Release()
		var ce *CallError
		failed := errors.As(err, &ce)
		if !failed && (b.Rows > 1 || !errors.Is(err, errFull)) {
			if o.step.module.stateful && errors.Is(err, errFull) {
				o.discard() // it may have seen some of the rows, and will see them again
			}
			return result{}, err // a guest that asks for fewer rows is well
		}
		if failed && (ce.Fault == FaultTrap || ce.Fault == FaultFuel || ce.Fault == FaultStack || ce.Fault == FaultDeadline) {
			o.traps.Add(1)
		}
		o.discard()
		if fresh || failed && ce.Fault == FaultDeadline {
			return result{}, err
		}
		o.retries.Add(1)
	}
}

// once is one call of the guest with an acquired slot, on so much fuel.
func (o *operator) once(b *batch.Batch, slot *batch.Slot, fuel int64) (result, error) {
	w, im := &o.wins, &o.im
	if n := b.Rows; n > w.rowsFilled {
		copy(o.g.mem.bytes()[w.rows+uint32(4*w.rowsFilled):], o.step.rows[4*w.rowsFilled:4*n])
		w.rowsFilled = n
	}
	out, room, ok := o.export(b, slot)
	o.bytesCopied.Add(o.call.copied)
	if !ok {
		return result{}, errFull
	}
	addr, cerr := o.g.run(w.scratch, out, room, fuel)
	o.fuel.Add(o.g.tank.take())
	o.logDropped.Add(o.log.end())
	if cerr != nil {
		return result{}, cerr
	}
	if addr == abi.Full {
		return result{}, errFull
	}
	im.mem = o.g.mem.bytes()
	im.rowsIn = b.Rows
	im.rowsMax = min(b.Rows*o.step.cfg.MaxExpansion, maxOffset)
	rows, cerr := im.take(addr)
	o.bytesCopied.Add(im.copied)
	im.mem = nil
	if cerr != nil {
		return result{}, cerr
	}
	r, cerr := o.lineage(rows, b.Rows)
	if cerr == nil {
		cerr = o.checkOutput(r)
	}
	if cerr != nil {
		return result{}, cerr
	}
	r.slot, r.slotUsed = slot, im.slotEnd > 0 || im.copied > 0
	return r, nil
}

// result is a successful call: the columns are in the importer until the next one.
type result struct {
	rows     int
	from     []int32 // the input row of each output row; nil where identity or unknown says it
	identity bool    // row i comes from row i
	dropped  int     // input rows without an output row
	added    int     // output rows beyond the first of each input row
	slot     *batch.Slot
	slotUsed bool // the columns use the slot; otherwise it only has to be released
}

// lineage reads the row column, if the guest returned it.
func (o *operator) lineage(rows, rowsIn int) (result, *CallError) {
	r := result{rows: rows}
	if o.step.row < 0 {
		if rows != rowsIn {
			// What later stages say about such rows would depend on how records were cut into batches.
			return r, outputError("%d rows became %d, and nothing says which row each is from: the operator must return the %s column (keep rows)",
				rowsIn, rows, abi.RowColumn)
		}
		r.identity = true
		return r, nil
	}
	if o.im.found[o.step.row].input == len(o.step.in.Fields) {
		r.identity = true
		return r, nil
	}
	from := batch.As[int32](o.im.cols[o.step.row].Values)
	if n := len(from); n > 0 && int(from[n-1]) < rowsIn && rises(from, 1) { // a filter: each row became one or none
		r.from, r.dropped = from, rowsIn-n
		return r, nil
	}
	last, kinds, run := int32(0), 0, 0
	for i, f := range from {
		if f == last && i > 0 {
			if run++; run > o.step.cfg.MaxExpansion {
				return r, outputError("row %d became more than %d rows", f, o.step.cfg.MaxExpansion)
			}
			continue
		}
		if f < last || int(f) >= rowsIn {
			return r, outputError("%s is %d in row %d: it must be from 0 to %d and never fall", abi.RowColumn, f, i, rowsIn-1)
		}
		last, run = f, 1
		kinds++
	}
	r.from, r.dropped, r.added = from, rowsIn-kinds, rows-kinds
	return r, nil
}

// apply makes a result the batch.
func (o *operator) apply(b *batch.Batch, r result) {
	if !r.identity {
		switch {
		case b.Origin == nil:
		case r.from == nil && r.rows > 0:
			b.Origin = nil
		default:
			from, to := b.Origin, b.Origins(r.rows)
			for i, f := range r.from {
				to[i] = from[f]
			}
			b.Origin = to
		}
	}
	b.Filtered += int64(r.dropped)
	b.Expanded += int64(r.added)
	b.Rows, b.Schema = r.rows, o.step.out
	b.SetWidth(len(o.step.out.Fields))
	n := 0
	for i := range o.im.cols {
		if i != o.step.row {
			b.Cols[n] = o.im.cols[i]
			n++
		}
	}
	clear(o.im.cols)
	if r.slotUsed {
		b.Hold(r.slot)
	} else {
		r.slot.Release()
	}
}

// empty makes a batch without rows one of the output schema.
func (o *operator) empty(b *batch.Batch) {
	b.Schema = o.step.out
	b.SetWidth(len(o.step.out.Fields))
	clear(b.Cols)
	for i, f := range o.step.out.Fields {
		b.Cols[i] = emptyColumn(f.Type)
	}
}

// discard ends the guest.
func (o *operator) discard() {
	o.g.close()
	o.g = nil
	o.ended.Add(1)
}

// Usage is what the instance has used. It may be called from any goroutine.
func (o *operator) Usage() operators.Usage {
	return operators.Usage{
		BytesCopied: o.bytesCopied.Load(), Instances: o.instances.Load(), Ended: o.ended.Load(), Traps: o.traps.Load(),
		Retries: o.retries.Load(), Fuel: o.fuel.Load(), LogDropped: o.logDropped.Load(),
		Verified: o.checks.verified.Load(), Differed: o.checks.differed.Load(), Stores: o.checks.stores.Load(),
	}
}

// Close frees the guest. Closing twice is fine.
func (o *operator) Close() error {
	o.checks.close()
	if o.g != nil {
		o.discard()
	}
	o.state.behind = false
	return nil
}
