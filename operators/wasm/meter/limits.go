package meter

import "fmt"

// Limits are what a module may have at most. Zero values mean defaults.
type Limits struct {
	Size      int // bytes of the result; default 32 MiB
	Stack     int // bytes of its stack, from MinStack to MaxStack; default DefaultStack
	Functions int // functions, imported ones not counted, up to MaxFunctions; default DefaultFunctions
}

// Defaults and bounds of Limits.
const (
	DefaultSize      = 32 << 20
	MinStack         = 16 << 10
	DefaultStack     = 1 << 20
	MaxStack         = 16 << 20
	DefaultFunctions = 50_000
	MaxFunctions     = 1_000_000
)

// What a module may have whatever its limits: far more than compilers of languages make, and so little that its compilation ends.
const (
	MaxTypes   = 2000
	MaxArity   = 1000      // parameters of a function, and results
	MaxBody    = 512 << 10 // bytes of a function
	MaxLocals  = 10_000    // of a function, parameters too
	MaxBlocks  = 10_000    // blocks, branches, and what else ends a straight piece of code, of a function
	MaxNesting = 5000      // of blocks
	MaxLoops   = 32        // nested loops
	// MaxEffort is how long the module may take to compile, and MaxFunctionEffort a function, in steps of about a microsecond
	// on an ordinary machine. A Go guest of 2.4 MB takes 2.5 million, and its largest function 120 thousand.
	MaxEffort         = 50_000_000
	MaxFunctionEffort = 3_000_000
)

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Size, DefaultSize)
	def(&l.Stack, DefaultStack)
	def(&l.Functions, DefaultFunctions)
	return l
}

func (l Limits) validate() error {
	if l.Stack < MinStack || l.Stack > MaxStack {
		return fmt.Errorf("given a stack of %d bytes: it must be from %d to %d", l.Stack, MinStack, MaxStack)
	}
	if l.Functions < 1 || l.Functions > MaxFunctions {
		return fmt.Errorf("given %d functions: it must be from 1 to %d", l.Functions, MaxFunctions)
	}
	return nil
}

// shape is what decides how long a function takes to compile.
type shape struct {
	steps, locals  int64 // steps of straight code
	blocks         int64 // what ends a straight piece of code
	targets        int64 // of tables of branches
	nesting, loops int   // most of them
}

// note counts an instruction with so many open blocks and loops around it.
func (s *shape) note(in instruction, blocks, loops int) {
	s.steps++
	s.nesting, s.loops = max(s.nesting, blocks), max(s.loops, loops)
	switch op := in.op; {
	case op == opBlock, op == opIf, op == opElse, op == opBr, op == opBrIf, op == opReturn, op == opUnreachable:
		s.blocks++
	case op == opLoop: // with its check and the loop around it
		s.blocks += 8
	case op == opBrTable:
		s.blocks++
		s.targets += int64(in.targets)
	case op == opCallIndirect:
		s.blocks++
		s.steps += 8
	case op == opCall, op == opMemoryGrow, op >= opLoad && op <= opStore, op == prefixVector,
		op >= opI32Div && op <= opI32Rem, op >= opI64Div && op <= opI64Rem:
		s.steps += 8
	case in.bulk():
		s.blocks += 2
	}
}

// branches are the blocks the compiler makes of it, about.
func (s *shape) branches() int64 { return s.blocks + s.targets/8 }

// effort is about how long the function takes to compile, see MaxEffort: the compiler's work
// grows with the square of the blocks, and with the product of blocks and locals.
func (s *shape) effort() int64 {
	n := s.branches()
	return s.steps + s.locals/32 + n*n/25 + n*s.locals/2
}

// check says what the function has too much of.
func (s *shape) check(bytes int) error {
	for _, c := range []struct {
		n, most int64
		what    string
	}{
		{int64(bytes), MaxBody, "bytes"},
		{s.locals, MaxLocals, "locals"},
		{s.branches(), MaxBlocks, "blocks and branches"},
		{int64(s.nesting), MaxNesting, "nested blocks"},
		{int64(s.loops), MaxLoops, "nested loops"},
		{s.effort(), MaxFunctionEffort, "steps for the compiler"},
	} {
		if c.n > c.most {
			return fmt.Errorf("has %d %s: at most %d are allowed", c.n, c.what, c.most)
		}
	}
	return nil
}
