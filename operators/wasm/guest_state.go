package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/weir-stream/weir/operators/abi"
)

// snapshot is the state of the guest, in its memory: valid until its next call. windows and windowsLen is where the state
// may not be, since the host reuses that.
func (g *guest) snapshot(limit int, windows, windowsLen uint32) ([]byte, error) {
	at, err := g.call(g.save)
	if err != nil {
		return nil, err
	}
	if at == 0 {
		return nil, fmt.Errorf("%s failed: %s", abi.ExportSnapshot, g.reason())
	}
	return stateAt(g.mem.bytes(), at, limit, windows, windowsLen)
}

// stateAt is the state that weir_snapshot returned the address of, in the guest's memory.
func stateAt(mem []byte, at uint32, limit int, windows, windowsLen uint32) ([]byte, error) {
	if at%4 != 0 || uint64(at)+abi.StateSize > uint64(len(mem)) {
		return nil, fmt.Errorf("%s returned %#x, which is not a 4-aligned address in its memory of %d bytes", abi.ExportSnapshot, at, len(mem))
	}
	state, n := binary.LittleEndian.Uint32(mem[at:]), binary.LittleEndian.Uint32(mem[at+4:])
	switch end := uint64(state) + uint64(n); {
	case int64(n) > int64(limit):
		return nil, fmt.Errorf("it has %d bytes, over limits.state of %d: have the operator forget what it no longer needs, or raise the limit", n, limit)
	case n == 0:
		return nil, nil
	case end > uint64(len(mem)):
		return nil, fmt.Errorf("%s says %d bytes at %#x, outside its memory of %d bytes", abi.ExportSnapshot, n, state, len(mem))
	case uint64(state) < uint64(windows)+uint64(windowsLen) && end > uint64(windows):
		return nil, fmt.Errorf("%s says %d bytes at %#x, inside the windows, which the host writes to", abi.ExportSnapshot, n, state)
	}
	return mem[state : state+n], nil
}

// restore gives the guest a state.
func (g *guest) restore(state []byte) error {
	at, err := g.alloc(len(state))
	if err != nil {
		return err
	}
	copy(g.mem.bytes()[at:], state)
	taken, err := g.call(g.load, uint64(at), uint64(len(state)))
	switch {
	case err != nil:
		return err
	case taken != 1:
		return fmt.Errorf("%s refused it: %s", abi.ExportRestore, g.reason())
	}
	return nil
}

// reason is what the guest said about its failure.
func (g *guest) reason() string {
	if g.message == "" {
		return "it gave no reason (weir.error)"
	}
	return g.message
}
