//go:build wasip1

// Package state is for weir operators that remember earlier rows, on top of package weir: importing it makes a module
// stateful (operators/abi/ABI.md, State). Call [Serve] in place of [weir.Serve]:
//
//	func init() { state.Serve(open) }
//
//	func open(p *weir.Plan) (state.Operator, error) { … }
//
// Strings of a batch point into memory that the host fills anew: clone those that are kept, and mind that assigning to a map
// replaces the key of an entry that is there.
//
// Only what MarshalBinary gives survives: a restart, and a batch that failed, go on with it in a new instance.
package state

import (
	"encoding"
	"unsafe"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
)

// Operator is a stateful operator. What it remembers must follow from the rows in order, however they are cut into batches.
type Operator interface {
	// Process makes the output columns of one batch; see [weir.Process].
	Process(b *weir.Batch) error
	// MarshalBinary is the state. The order of a map does not matter. It is called after batches: forget what is not needed
	// any more, for the state's size is limited (limits.state of the step, 1 MiB) and costs time with every batch.
	encoding.BinaryMarshaler
	// UnmarshalBinary takes a state, at most once, before the first batch. It must copy what it keeps.
	encoding.BinaryUnmarshaler
}

// kept is the one operator of this module, and what the host looks at.
var kept struct {
	operator Operator
	state    []byte
	answer   [2]uint32
}

// Serve names the operator of this module. Call it once, in an init function of package main.
func Serve(open func(*weir.Plan) (Operator, error)) {
	weir.Serve(func(p *weir.Plan) (weir.Process, error) {
		o, err := open(p)
		if err != nil {
			return nil, err
		}
		kept.operator = o
		return o.Process, nil
	})
}

//go:wasmimport weir error
func importError(text unsafe.Pointer, n uint32)

func fail(why string) uint32 {
	importError(unsafe.Pointer(unsafe.StringData(why)), uint32(len(why)))
	return 0
}

//go:wasmexport weir_snapshot
func exportSnapshot() uint32 {
	if kept.operator == nil {
		return fail("the operator does not call state.Serve in an init function")
	}
	var err error
	if kept.state, err = kept.operator.MarshalBinary(); err != nil {
		return fail(err.Error())
	}
	kept.answer = [2]uint32{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(kept.state)))), uint32(len(kept.state))}
	return uint32(uintptr(unsafe.Pointer(&kept.answer)))
}

//go:wasmexport weir_restore
func exportRestore(at, n uint32) uint32 {
	if kept.operator == nil {
		return fail("the operator does not call state.Serve in an init function")
	}
	if err := kept.operator.UnmarshalBinary(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(nil), uintptr(at))), int(n))); err != nil {
		return fail(err.Error())
	}
	return 1
}
