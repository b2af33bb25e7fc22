package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/aggregate"
)

// What a call of an aggregate's guest has room for, beside the largest state.
const (
	foldIn  = 2 << 20 // rows and states
	foldOut = 2 << 20 // what it makes
)

// fuelPerStateByte is what a call gets for each byte of the states it is given, beside what its rows bring.
const fuelPerStateByte = 16

// folder is an instance of an aggregate: a guest and the block it is fed through. One goroutine uses it at a time. When a
// call fails the guest is replaced; the folder stays.
type folder struct {
	a *Aggregate

	g     *guest
	fresh bool // the guest has not run yet
	// | in | out | structs |
	at, inLen, outLen, structsLen uint32
	calls                         map[string]api.Function
	log                           *journal

	structs []byte
	arena   batch.Arena // of in, while a call is prepared
	rows    batch.Batch // of the call, gathered into in
	states  importer
	values  importer
	room    []byte // what the guest returned, copied
}

func newFolder(a *Aggregate) *folder {
	page := func(n int) uint32 { return uint32(n+abi.PageSize-1) &^ (abi.PageSize - 1) }
	limit := a.step.cfg.StateLimit
	f := &folder{
		a: a, inLen: page(foldIn + 2*limit), outLen: page(foldOut + 2*limit),
		structsLen: page(2 * arraysSize(len(a.step.in.Fields)+1)),
		states:     newImporter([]batch.Field{stateField}, 0),
		values:     newImporter([]batch.Field{a.answer}, 0),
	}
	// All that a guest returns lies in its own memory, the block included.
	f.states.ownMax = uint64(a.step.cfg.MemoryLimit) + uint64(f.inLen) + uint64(f.outLen)
	f.values.ownMax = f.states.ownMax
	f.log = a.step.journal(a.step.cfg.Log)
	f.room = make([]byte, foldOut/2)
	return f
}

func (f *folder) close() {
	if f.g != nil {
		f.g.close()
		f.g = nil
		f.a.ended.Add(1)
	}
}

// ensure makes a guest with its block if there is none.
func (f *folder) ensure(ctx context.Context) error {
	if f.g != nil {
		return nil
	}
	s, total := f.a.step, int(f.inLen+f.outLen+f.structsLen)
	g, returns, err := s.start(ctx, f.log, total+2*abi.PageSize, false)
	if err != nil {
		return err
	}
	f.a.instances.Add(1)
	fail := func(err error) error {
		g.close()
		f.a.ended.Add(1)
		return &ModuleError{Module: s.cfg.label(), Problem: "cannot be given its memory", Err: err}
	}
	if !returns.Equal(&batch.Schema{Fields: []batch.Field{f.a.answer}}) {
		return fail(fmt.Errorf("it returned another schema than before: %s; was %s", returns, f.a.answer))
	}
	if f.at, err = g.alloc(total); err != nil {
		return fail(err)
	}
	f.a.fuel.Add(g.tank.take())
	f.calls = map[string]api.Function{}
	for _, name := range []string{abi.ExportAccumulate, abi.ExportMerge, abi.ExportFinish} {
		f.calls[name] = g.mod.ExportedFunction(name)
	}
	f.g, f.fresh = g, true
	return nil
}

// fits is how many of n things of these sizes are given to the guest at once: at least one.
func (f *folder) fits(n int, size func(int) int) int {
	total := 0
	for i := range min(n, f.a.step.cfg.MaxRows) {
		if total += size(i) + 16; total > foldIn/2 && i > 0 {
			return i
		}
	}
	return min(n, f.a.step.cfg.MaxRows)
}

func (f *folder) accumulate(ctx context.Context, fold *aggregate.Fold, next *aggregate.States) error {
	return f.attempt(ctx, len(fold.Rows), func(fuel int64) error {
		next.Reset()
		cols := f.begin()
		f.rows.Schema = f.a.step.in
		f.rows.Cols = append(f.rows.Cols[:0], fold.Cols...)
		f.rows.Gather(fold.Rows, &f.arena)
		for i, c := range f.rows.Cols {
			cols = append(cols, shown{f.rows.Schema.Fields[i].Type, c})
		}
		groups := f.arena.Alloc(4 * len(fold.Groups))
		if groups == nil {
			return errFull
		}
		copy(batch.As[int32](groups), fold.Groups)
		cols = append(cols, shown{batch.Type{Kind: batch.Int32}, batch.Column{Values: groups}})
		states, bytes, err := f.place(fold.States)
		if err != nil {
			return err
		}
		fuel += fuelPerStateByte * int64(bytes)
		if err := f.call(abi.ExportAccumulate, fuel, &f.states, len(fold.States), array{len(fold.Rows), cols}, states); err != nil {
			return err
		}
		return f.take(len(fold.States), next)
	})
}

func (f *folder) merge(ctx context.Context, x, y [][]byte, out *aggregate.States) error {
	return f.attempt(ctx, len(x), func(fuel int64) error {
		f.begin()
		a, n, err := f.place(x)
		if err != nil {
			return err
		}
		b, m, err := f.place(y)
		if err != nil {
			return err
		}
		fuel += fuelPerStateByte * int64(n+m)
		if err := f.call(abi.ExportMerge, fuel, &f.states, len(x), a, b); err != nil {
			return err
		}
		return f.take(len(x), out)
	})
}

func (f *folder) finish(ctx context.Context, states [][]byte) (c batch.Column, err error) {
	err = f.attempt(ctx, len(states), func(fuel int64) error {
		f.begin()
		a, bytes, err := f.place(states)
		if err != nil {
			return err
		}
		fuel += fuelPerStateByte * int64(bytes)
		if err := f.call(abi.ExportFinish, fuel, &f.values, len(states), a); err != nil {
			return err
		}
		c = f.values.cols[0]
		return nil
	})
	return c, err
}

// attempt makes a call with so many rows. A failed guest is replaced; if it was not a fresh one, the call is made once more,
// since what failed may have been left behind by earlier calls. So one row fails in a fresh guest only, and its fate is a
// function of that row and the state.
func (f *folder) attempt(ctx context.Context, rows int, once func(fuel int64) error) error {
	if rows > f.a.step.cfg.MaxRows {
		return rowError(errFull)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.ensure(ctx); err != nil {
			return err
		}
		fresh := f.fresh
		f.fresh = false
		err := once(f.a.step.cfg.fuelFor(rows, fresh))
		f.a.fuel.Add(f.g.tank.take())
		f.a.logDropped.Add(f.log.end())
		if err == nil {
			return nil
		}
		var ce *CallError
		failed := errors.As(err, &ce)
		if !failed && (rows > 1 || !errors.Is(err, errFull)) {
			return rowError(err) // a guest that asks for fewer rows is well
		}
		if failed && (ce.Fault == FaultTrap || ce.Fault == FaultFuel || ce.Fault == FaultStack || ce.Fault == FaultDeadline) {
			f.a.traps.Add(1)
		}
		f.close()
		if fresh || failed && ce.Fault == FaultDeadline {
			return rowError(err)
		}
		f.a.retries.Add(1)
	}
}

// rowError says of a failure that the rows are at fault, where they are.
func rowError(err error) error {
	var ce *CallError
	switch {
	case errors.Is(err, errFull):
		return &aggregate.RowError{Full: true, Detail: string(FaultRoom) + ": the row and the state of its group do not fit the aggregate's memory", Err: err}
	case errors.As(err, &ce) && ce.Fault != FaultDeadline:
		// Rows can be out of fuel together and have enough alone.
		return &aggregate.RowError{Full: ce.Fault == FaultFuel, Detail: ce.detail(), Err: err}
	}
	return err
}

// shown is a column for the guest, its buffers in the guest's memory.
type shown struct {
	typ    batch.Type
	column batch.Column
}

// array is a struct array for the guest.
type array struct {
	rows int
	cols []shown
}

// begin empties in and the structs.
func (f *folder) begin() []shown {
	f.arena = batch.NewArena(f.g.mem.bytes()[f.at : f.at+f.inLen])
	f.structs = f.structs[:0]
	return make([]shown, 0, len(f.a.step.in.Fields)+1)
}

// place copies states into in, as one column.
func (f *folder) place(states [][]byte) (array, int, error) {
	n, total, nulls := len(states), 0, 0
	for _, s := range states {
		total += len(s)
		if s == nil {
			nulls++
		}
	}
	var c batch.Column
	if nulls > 0 {
		if c.Validity = f.arena.Alloc(batch.BitmapLen(n)); c.Validity == nil {
			return array{}, 0, errFull
		}
		clear(c.Validity)
		c.Nulls = nulls
	}
	if c.Offsets, c.Values = f.arena.Alloc(4*(n+1)), f.arena.Alloc(total); c.Offsets == nil || c.Values == nil {
		return array{}, 0, errFull
	}
	offsets, at := batch.As[int32](c.Offsets), 0
	offsets[0] = 0
	for i, s := range states {
		if nulls > 0 && s != nil {
			batch.SetBit(c.Validity, i)
		}
		at += copy(c.Values[at:], s)
		offsets[i+1] = int32(at)
	}
	return array{n, []shown{{stateField.Type, c}}}, total, nil
}

// call shows the arrays to the guest, calls it, and takes over the rows that it returns.
func (f *folder) call(name string, fuel int64, im *importer, rows int, arrays ...array) error {
	mem := f.g.mem.bytes()
	structsAt := f.at + f.inLen + f.outLen
	clear(f.g.stack[:])
	for i := range arrays {
		at, ok := f.describe(&arrays[i], structsAt)
		if !ok {
			return errFull
		}
		f.g.stack[i] = uint64(at)
	}
	copy(mem[structsAt:structsAt+f.structsLen], f.structs)
	f.g.stack[len(arrays)], f.g.stack[len(arrays)+1] = uint64(f.at+f.inLen), uint64(f.outLen)
	f.a.bytesCopied.Add(int64(int(f.inLen) - f.arena.Free()))
	addr, err := f.g.invoke(f.calls[name], fuel)
	if err != nil {
		return err
	}
	if addr == abi.Full {
		return errFull
	}
	// No window is mapped and nothing is shared: wherever a buffer lies in the guest's memory, it is copied.
	im.mem, im.slot, im.rowsIn, im.rowsMax = f.g.mem.bytes(), f.room, -1, rows
	n, err := im.take(addr)
	f.a.bytesCopied.Add(im.copied)
	im.mem = nil
	if err != nil {
		return err
	}
	if n != rows {
		return outputError("%s returned %d rows, where there must be %d", name, n, rows)
	}
	return nil
}

// take appends the states that the guest returned.
func (f *folder) take(n int, out *aggregate.States) error {
	c, limit := &f.states.cols[0], f.a.step.cfg.StateLimit
	for i := range n {
		s := c.Bytes(i)
		if len(s) == 0 {
			return outputError("a state is empty: it has at least one byte")
		}
		if len(s) > limit {
			return outputError("a state has %d bytes, over limits.state of %d", len(s), limit)
		}
		out.Append(s)
	}
	return nil
}

// describe writes the structs of an array, which will lie at base, and returns the address of the first. It is not ok where
// a buffer is not in the guest's memory, because it did not fit.
func (f *folder) describe(a *array, base uint32) (uint32, bool) {
	// | root | columns | children | buffers of the root, 8 bytes | buffers of the columns, 16 bytes each |
	n, start := len(a.cols), (len(f.structs)+7)&^7
	children := start + abi.ArraySize*(n+1)
	buffers := (children + 4*n + 7) &^ 7
	size := buffers + 8 + 16*n
	for len(f.structs) < size {
		f.structs = append(f.structs, 0)
	}
	out := f.structs
	put32 := func(at int, v uint32) { binary.LittleEndian.PutUint32(out[at:], v) }
	put64 := func(at int, v int) { binary.LittleEndian.PutUint64(out[at:], uint64(v)) }
	clear(out[start:size])
	put64(start+abi.ArrayLength, a.rows)
	put64(start+abi.ArrayNBuffers, 1)
	put64(start+abi.ArrayNChildren, n)
	put32(start+abi.ArrayBuffers, base+uint32(buffers))
	put32(start+abi.ArrayChildren, base+uint32(children))
	ok := true
	for i := range a.cols {
		c, at, to := &a.cols[i], start+abi.ArraySize*(i+1), buffers+8+16*i
		put32(children+4*i, base+uint32(at))
		put64(at+abi.ArrayLength, a.rows)
		put64(at+abi.ArrayNullCount, c.column.Nulls)
		put64(at+abi.ArrayNBuffers, abi.Buffers(c.typ))
		put32(at+abi.ArrayBuffers, base+uint32(to))
		list := [...][]byte{c.column.Validity, c.column.Values, nil}
		if c.typ.Variable() {
			list = [...][]byte{c.column.Validity, c.column.Offsets, c.column.Values}
		}
		for k, b := range list[:abi.Buffers(c.typ)] {
			if k == 0 && b == nil {
				continue // no nulls
			}
			addr, inside := f.address(b)
			ok = ok && inside
			put32(to+4*k, addr)
		}
	}
	return base + uint32(start), ok
}

// address is where the guest sees a buffer that was allocated from in.
func (f *folder) address(b []byte) (uint32, bool) {
	if len(b) == 0 {
		return f.at, true // any address that is not null
	}
	in := f.g.mem.bytes()[f.at : f.at+f.inLen]
	off := uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(in)))
	return f.at + uint32(off), off < uintptr(len(in))
}
