package wasm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/wasm/meter"
)

// maxLastWords is how many bytes of a guest's standard output are kept, for the message when it traps.
const maxLastWords = 2 << 10

// guest is a running module: its memory, its functions, and what it said. It is used by one goroutine, and never again
// after it failed.
type guest struct {
	step string
	log  *journal
	ctx  context.Context // carries the guest to the host functions it calls; made once, so that calls do not allocate

	mod      api.Module
	mem      linear
	allocate api.Function // functions are looked up once: a lookup allocates a stack
	process  api.Function
	save     api.Function // nil where the module keeps no state, as load is
	load     api.Function
	stack    [4]uint64
	tank     tank

	message   string // of weir.error
	lastWords []byte // of standard output and error
	clock     uint64
	random    uint64
}

// start makes a guest and opens it: everything up to its output schema. Its memory may grow to the step's limit and
// extra bytes more, and is mapped where windows will be.
func (s *Step) start(ctx context.Context, log *journal, extra int, mapped bool) (*guest, *batch.Schema, error) {
	schema := abi.WriteSchema(0, s.shown)
	block := roundUp(len(s.cfg.Config)+8) + roundUp(len(schema))
	limit := s.cfg.MemoryLimit + block + extra
	if limit > 1<<32-abi.PageSize {
		return nil, nil, fmt.Errorf("%s: a memory limit of %d MiB and windows of %d MiB are over the 4 GiB of a guest", s.cfg.Name, s.cfg.MemoryLimit>>20, extra>>20)
	}
	g := &guest{step: s.cfg.Name, log: log, tank: tank{deadline: s.cfg.Deadline, depth: uint64(s.cfg.Stack)}}
	g.ctx = context.WithValue(context.Background(), guestKey{}, g)
	// Mapped memory does not move when it grows, so it is better where nothing is mapped into it, too.
	var err error
	if g.mem, err = newMappedMemory(limit, s.module.memBytes+block+extra); err != nil {
		if mapped {
			return nil, nil, fmt.Errorf("%s: memory of an instance: %w", s.cfg.Name, err)
		}
		g.mem = newHeapMemory(limit, s.module.memBytes)
	}
	if err := ctx.Err(); err != nil {
		g.close()
		return nil, nil, err
	}
	out, err := s.open(g, schema, block)
	if err != nil {
		g.close()
		return nil, nil, err
	}
	return g, out, nil
}

func (s *Step) open(g *guest, schema []byte, block int) (*batch.Schema, error) {
	fail := func(problem string, err error) error {
		return &ModuleError{Module: s.cfg.label(), Problem: problem, Err: err}
	}
	if err := g.instantiate(s.module); err != nil {
		return nil, fail("cannot be started", err)
	}
	if init := g.mod.ExportedFunction(abi.ExportInitialize); init != nil {
		if _, err := g.call(init); err != nil {
			return nil, fail("fails in "+abi.ExportInitialize, err)
		}
	}
	if s.fields == nil { // the first guest of the step: others are of the same module
		version, err := g.call(g.mod.ExportedFunction(abi.ExportABI))
		if err != nil {
			return nil, fail("fails in "+abi.ExportABI, err)
		}
		if version != abi.Version {
			return nil, fail(fmt.Sprintf("is built for version %d of the operator ABI, and this is version %d", version, abi.Version), nil)
		}
	}
	at, err := g.alloc(block)
	if err != nil {
		return nil, fail("has no memory for its configuration", err)
	}
	schemaAt := at + uint32(roundUp(len(s.cfg.Config)+8))
	mem := g.mem.bytes()
	copy(mem[at:], s.cfg.Config)
	copy(mem[schemaAt:], abi.WriteSchema(schemaAt, s.shown))
	out, err := g.call(g.mod.ExportedFunction(abi.ExportOpen), uint64(at), uint64(len(s.cfg.Config)), uint64(schemaAt))
	if err != nil {
		return nil, fail("fails in "+abi.ExportOpen, err)
	}
	if out == 0 {
		if g.message == "" {
			g.message = "it gave no reason (weir.error)"
		}
		return nil, fail("refused the input schema or its configuration: "+g.message, nil)
	}
	returns, err := abi.ReadSchema(g.mem.bytes(), out)
	if err != nil {
		return nil, fail("returned a bad schema from "+abi.ExportOpen, err)
	}
	return returns, nil
}

// instantiate links the module. It runs none of the guest's code: start functions are refused at admission.
func (g *guest) instantiate(m *module) (err error) {
	// The runtime panics on a memory it cannot have; that was made sure of before, but it must not end the node.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the runtime panicked: %v", r)
		}
	}()
	ctx := experimental.WithMemoryAllocator(g.ctx, allocate(g.mem))
	// No name, so that there can be many; no start functions. The source of randomness is never read, since the stubs have
	// their own, but seeding the runtime's takes a tenth of a start.
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithRandSource(strings.NewReader(""))
	if g.mod, err = m.code.runtime.InstantiateModule(ctx, m.code.compiled, cfg); err != nil {
		return err
	}
	g.allocate = g.mod.ExportedFunction(abi.ExportAlloc)
	g.process = g.mod.ExportedFunction(abi.ExportProcess)
	if m.stateful {
		g.save, g.load = g.mod.ExportedFunction(abi.ExportSnapshot), g.mod.ExportedFunction(abi.ExportRestore)
	}
	if m.unmetered {
		return nil
	}
	return g.tank.connect(g.mod)
}

// call runs a function that returns at most one i32, on the fuel for all but weir_process. An error is a trap, or errFuel,
// errStack or errDeadline.
func (g *guest) call(f api.Function, params ...uint64) (uint32, error) {
	clear(g.stack[:])
	copy(g.stack[:], params)
	g.message, g.lastWords = "", g.lastWords[:0]
	g.log.begin()
	g.tank.fill(fuelToStart)
	err := f.CallWithStack(g.ctx, g.stack[:])
	ended := g.tank.drain()
	if err == nil {
		return uint32(g.stack[0]), nil
	}
	switch ended {
	case nil:
		return 0, g.trap(err)
	case errFuel:
		return 0, fmt.Errorf("%w: it took more than %d instructions", errFuel, fuelToStart)
	case errStack:
		return 0, fmt.Errorf("%w: %s", errStack, g.tooDeep())
	default:
		return 0, fmt.Errorf("%w: it took more than %v", errDeadline, g.tank.deadline)
	}
}

// tooDeep says what it means to be out of stack.
func (g *guest) tooDeep() string {
	return fmt.Sprintf("calls took more than %d bytes, or were nested more than %d deep; limits.stack may allow more bytes", g.tank.depth, meter.MaxDepth)
}

// trap adds to a trap what the guest said before.
func (g *guest) trap(err error) error {
	if words := strings.TrimSpace(string(g.lastWords)); words != "" {
		return fmt.Errorf("%s: %w", shorten(words, maxLastWords), err)
	}
	if g.message != "" {
		return fmt.Errorf("%s: %w", g.message, err)
	}
	return err
}

// alloc asks the guest for a block of n bytes. The guest never frees it.
func (g *guest) alloc(n int) (uint32, error) {
	at, err := g.call(g.allocate, uint64(n))
	switch {
	case err != nil:
		return 0, err
	case at == 0:
		return 0, fmt.Errorf("%s could not give %d bytes: limits.memory is too small, or the module was linked with a smaller maximum", abi.ExportAlloc, n)
	case at%abi.PageSize != 0:
		return 0, fmt.Errorf("%s returned %#x, which is not a multiple of %d", abi.ExportAlloc, at, abi.PageSize)
	case uint64(at)+uint64(n) > uint64(len(g.mem.bytes())):
		return 0, fmt.Errorf("%s returned %d bytes at %#x, outside its memory of %d bytes", abi.ExportAlloc, n, at, len(g.mem.bytes()))
	}
	return at, nil
}

// run is one call of weir_process on so much fuel: the address of the result, or what went wrong.
func (g *guest) run(array, out, room uint32, fuel int64) (uint32, *CallError) {
	g.stack[0], g.stack[1], g.stack[2] = uint64(array), uint64(out), uint64(room)
	return g.invoke(g.process, fuel)
}

// invoke calls a function of the contract with what is in the stack.
func (g *guest) invoke(f api.Function, fuel int64) (uint32, *CallError) {
	g.message, g.lastWords = "", g.lastWords[:0]
	g.log.begin()
	g.tank.fill(fuel)
	err := f.CallWithStack(g.ctx, g.stack[:])
	if ended := g.tank.drain(); err != nil {
		switch ended {
		case nil:
			return 0, &CallError{Fault: FaultTrap, Err: g.trap(err)}
		case errFuel:
			return 0, &CallError{Fault: FaultFuel, Err: fmt.Errorf("it took more than %d instructions; limits.fuel_per_row may allow more", fuel)}
		case errStack:
			return 0, &CallError{Fault: FaultStack, Err: errors.New(g.tooDeep())}
		default:
			return 0, &CallError{Fault: FaultDeadline, Err: fmt.Errorf("it took more than %v: the machine is overloaded, or limits.fuel_per_row allows too much", g.tank.deadline)}
		}
	}
	result := uint32(g.stack[0])
	if result == 0 {
		if g.message == "" {
			return 0, &CallError{Fault: FaultError, Err: errors.New("it gave no reason (weir.error)")}
		}
		return 0, &CallError{Fault: FaultError, Err: errors.New(g.message)}
	}
	return result, nil
}

// close ends the guest. Closing twice is fine.
func (g *guest) close() {
	if g.mod != nil {
		_ = g.mod.Close(context.Background())
		g.mod = nil
	}
	g.mem.Free()
}

// roundUp makes a length a multiple of 64 bytes.
func roundUp(n int) int { return (n + batch.Align - 1) &^ (batch.Align - 1) }
