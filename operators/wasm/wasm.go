package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/abi"
	"github.com/weir-stream/weir/operators/wasm/meter"
)

// Transport is how batches reach a guest.
type Transport uint8

// The transports.
const (
	Auto Transport = iota // map the pool where it can be mapped, copy otherwise
	Copy                  // always copy; the same results, slower
)

// OnError is what happens to a batch that a guest fails on.
type OnError string

// The policies.
const (
	Reject OnError = "reject" // find the rows it fails on, reject these, go on with the rest
	Stop   OnError = "stop"   // fail the batch, and so the pipeline
)

// Defaults of a Config.
const (
	DefaultMemoryLimit  = 64 << 20
	DefaultModuleLimit  = 8 << 20
	DefaultMaxRows      = 64 << 10
	DefaultBatchRows    = 8 << 10
	DefaultMaxExpansion = 1024
	DefaultOutputLimit  = 16 << 20
	DefaultTableLimit   = 128 << 10
	DefaultLogLines     = 16
	DefaultLogRate      = 100
	DefaultStack        = meter.DefaultStack
	DefaultFuelPerRow   = 50_000
	DefaultStateLimit   = 64 << 10
	DefaultDeadline     = 10 * time.Second
	DefaultMaxFunctions = meter.DefaultFunctions
	DefaultCompileTime  = 30 * time.Second
)

// DefaultPartitionState is what Config.PartitionState is where it is zero.
const DefaultPartitionState = 1 << 20

// MaxPartitionState is the largest Config.PartitionState. A state is copied with every batch, and shipped as one value.
const MaxPartitionState = 64 << 20

// Bounds of Config.FuelPerRow.
const (
	MinFuelPerRow = 1
	MaxFuelPerRow = 1_000_000_000
)

// MaxStateLimit is the largest Config.StateLimit.
const MaxStateLimit = 1 << 20

// Config is a use of a module as a step.
type Config struct {
	Name   string // how messages call the step: "2 wasm calibrate"
	Path   string // file of the module, read where Module is nil; also names the module in messages
	Module []byte // the module itself

	Config []byte // the operator's own configuration as JSON, given to weir_open; empty means {}

	OnError     OnError // default Reject
	MemoryLimit int     // bytes of memory of a guest, its windows not counted; default 64 MiB
	ModuleLimit int     // bytes of the module; default 8 MiB
	// PartitionState is how many bytes a stateful guest may keep from row to row; default 1 MiB. For steps alone.
	PartitionState int
	TableLimit     int // entries of all tables of a guest, 8 bytes of the host's each; default 131072
	MaxRows        int // rows given to the guest at once, larger batches are cut; default 65536
	MaxExpansion   int // output rows per input row at most; default 1024
	OutputLimit    int // bytes per input row at most, of all columns of all rows it becomes; default 16 MiB
	// Stack is how many bytes, about, the nested calls of a guest may take of the runtime's stack; default 1 MiB. At most 1900
	// calls may be nested, whatever it is. What a language keeps in linear memory as its stack is not counted.
	Stack int

	MaxFunctions int // functions of the module; default 50,000. Package meter has what else is limited
	// CompileTime is how long the compilation of the module may take; default 30 s. New returns then, but the runtime cannot be
	// interrupted: the work goes on in the background for as long as it takes, minutes at most, and is thrown away.
	CompileTime time.Duration

	// FuelPerRow is how many instructions, about, a row may take on average; default 50,000. A call has that for each of its
	// rows, 10 million at least; when it runs out, its rows are tried in smaller parts. A row by itself may take what a
	// batch of BatchRows rows may, so that whether it is rejected does not depend on the rows around it.
	FuelPerRow int64
	// StateLimit is how many bytes the state of a group may have; default 64 KiB. For aggregates alone.
	StateLimit int
	// BatchRows is how many rows the batches of the pipeline have at most; default 8192. It only decides what a row by
	// itself may take. It is not MaxRows, since a step can get batches that one before it made longer.
	BatchRows int
	// Deadline is how long a call may take, as a safety net: fuel ends a call long before, unless the machine stands still,
	// or FuelPerRow or BatchRows is large. Default 10 s.
	Deadline time.Duration

	LogLines int // lines of the guest in the log per call; default 16
	LogRate  int // lines of an instance in the log per second; default 100

	// Verify has one batch in so many run again in the interpreter; a batch that becomes something else there fails. 0 is none,
	// 1 all.
	Verify int

	Interpreter bool      // run in the interpreter: slow, for verification
	Transport   Transport // default Auto
	Cache       *Cache    // shared compiled code; nil keeps it in the step

	unchecked bool // for tests of guests that remember: no batch is run again in a fresh one
	unmetered bool // for benchmarks: nothing limits the guest's time

	Log *slog.Logger // for what the guest logs while the step is planned; nil discards
}

// label is how messages name the module.
func (c *Config) label() string {
	switch {
	case c.Path != "":
		return filepath.Base(c.Path)
	case c.Name != "":
		return c.Name
	default:
		return "module"
	}
}

// withDefaults fills in what is zero.
func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.MemoryLimit, DefaultMemoryLimit)
	def(&c.ModuleLimit, DefaultModuleLimit)
	def(&c.PartitionState, DefaultPartitionState)
	def(&c.MaxRows, DefaultMaxRows)
	def(&c.BatchRows, DefaultBatchRows)
	def(&c.MaxExpansion, DefaultMaxExpansion)
	def(&c.OutputLimit, DefaultOutputLimit)
	def(&c.TableLimit, DefaultTableLimit)
	def(&c.LogLines, DefaultLogLines)
	def(&c.LogRate, DefaultLogRate)
	def(&c.Stack, DefaultStack)
	def(&c.StateLimit, DefaultStateLimit)
	def(&c.MaxFunctions, DefaultMaxFunctions)
	if c.CompileTime == 0 {
		c.CompileTime = DefaultCompileTime
	}
	if c.FuelPerRow == 0 {
		c.FuelPerRow = DefaultFuelPerRow
	}
	if c.Deadline == 0 {
		c.Deadline = DefaultDeadline
	}
	if c.OnError == "" {
		c.OnError = Reject
	}
	if c.Name == "" {
		c.Name = "wasm " + strings.TrimSuffix(c.label(), ".wasm")
	}
	if len(c.Config) == 0 {
		c.Config = []byte("{}")
	}
	return c
}

// Validate tells what is wrong with the configuration. Zero values mean defaults and are fine.
func (c *Config) Validate() error {
	within := func(name string, v, least, most int) error {
		if v != 0 && (v < least || v > most) {
			return fmt.Errorf("%s is %d: it must be from %d to %d", name, v, least, most)
		}
		return nil
	}
	var err error
	if c.Module == nil && c.Path == "" {
		err = errors.New("no module: name a .wasm file")
	}
	if c.OnError != "" && c.OnError != Reject && c.OnError != Stop {
		err = errors.Join(err, fmt.Errorf("on_error is %q: it must be %s or %s", c.OnError, Reject, Stop))
	}
	if len(c.Config) > abi.MaxConfigLen {
		err = errors.Join(err, fmt.Errorf("the operator's config has %d bytes: at most %d are possible", len(c.Config), abi.MaxConfigLen))
	}
	if len(c.Config) > 0 && !json.Valid(c.Config) {
		err = errors.Join(err, errors.New("the operator's config is not JSON"))
	}
	if c.FuelPerRow != 0 && (c.FuelPerRow < MinFuelPerRow || c.FuelPerRow > MaxFuelPerRow) {
		err = errors.Join(err, fmt.Errorf("limits.fuel_per_row is %d: it must be from %d to %d", c.FuelPerRow, MinFuelPerRow, MaxFuelPerRow))
	}
	if c.Deadline < 0 {
		err = errors.Join(err, fmt.Errorf("the deadline of %v is negative", c.Deadline))
	}
	if c.CompileTime < 0 {
		err = errors.Join(err, fmt.Errorf("limits.compile_time is %v: it must not be negative", c.CompileTime))
	}
	return errors.Join(err,
		within("limits.memory", c.MemoryLimit, abi.PageSize, 2<<30),
		within("limits.module", c.ModuleLimit, 8, 256<<20),
		within("limits.state", c.PartitionState, 1, MaxPartitionState),
		within("limits.stack", c.Stack, meter.MinStack, meter.MaxStack),
		within("limits.state", c.StateLimit, 1, MaxStateLimit),
		within("limits.functions", c.MaxFunctions, 1, meter.MaxFunctions),
		within("max_rows", c.MaxRows, 1, 1<<20),
		within("batch.rows", c.BatchRows, 1, 1<<20),
		within("limits.expansion", c.MaxExpansion, 1, 1<<20),
		within("limits.output", c.OutputLimit, 64, 1<<30),
		within("limits.tables", c.TableLimit, 1, 16<<20),
		within("limits.log_lines", c.LogLines, 1, 1<<20),
		within("limits.log_rate", c.LogRate, 1, 1<<20),
		within("verify", c.Verify, 1, 1<<30))
}

// Step is a compiled operator whose schemas are known. See [operators.Step].
type Step struct {
	cfg     Config
	module  *module
	in, out *batch.Schema
	shown   *batch.Schema // what the guest is told: in, and the hidden column
	fields  []batch.Field // what the guest returns: out, and the row column where the guest returns it
	row     int           // index of the row column in fields, or -1
	width   int           // bytes of a row of fields but for strings and the row column
	rows    []byte        // 0, 1, 2, ... MaxRows-1: the row column of every batch

	source []byte     // the module, where batches are verified
	mu     sync.Mutex // guards slow
	slow   *Step      // this step in the interpreter, once it is needed
}

var (
	_ operators.Step         = (*Step)(nil)
	_ operators.StatefulStep = (*Step)(nil)
)

// New reads and compiles a module, checks it against the contract, and starts it once to learn its output schema. What is
// wrong with the module or its use is a *[ModuleError].
func New(ctx context.Context, cfg Config, in *batch.Schema) (*Step, error) {
	s, returns, err := load(ctx, cfg, in, rowwise)
	if err != nil {
		return nil, err
	}
	s.rows = iota32(s.cfg.MaxRows)
	s.fields = returns.Fields
	s.row = returns.Index(abi.RowColumn)
	s.width = fixedWidth(s.fields, s.row)
	s.out = returns
	if s.row >= 0 {
		s.out = &batch.Schema{}
		for i, f := range returns.Fields {
			if i != s.row {
				s.out.Fields = append(s.out.Fields, f)
			}
		}
	}
	if len(s.out.Fields) == 0 {
		_ = s.Close()
		return nil, &ModuleError{Module: s.cfg.label(), Problem: "returns no columns"}
	}
	return s, nil
}

var errNoFile = errors.New("it is not a file")

// unreadHint is what to do about a module that cannot be read.
func unreadHint(err error) string {
	var file *fs.PathError
	if errors.As(err, &file) || errors.Is(err, errNoFile) {
		return "the path is relative to the pipeline's file; 'weir op build' compiles an operator"
	}
	return "raise limits.module, or make the module smaller"
}

// load reads, compiles and checks a module, and starts it once. It returns the schema that the guest returns, too.
func load(ctx context.Context, cfg Config, in *batch.Schema, k kind) (*Step, *batch.Schema, error) {
	if err := cfg.Validate(); err != nil {
		return nil, nil, fmt.Errorf("wasm step: %w", err)
	}
	cfg = cfg.withDefaults()
	if err := checkInput(in); err != nil {
		return nil, nil, &ModuleError{Module: cfg.label(), Problem: err.Error()}
	}
	if cfg.Module == nil {
		var err error
		if cfg.Module, err = readModule(cfg.Path, cfg.ModuleLimit); err != nil {
			return nil, nil, &ModuleError{Module: cfg.Path, Problem: "cannot be read", Err: err, Hint: unreadHint(err)}
		}
	}
	m, err := compile(ctx, &cfg, k)
	if err != nil {
		return nil, nil, err
	}
	s := &Step{module: m, in: in, row: -1, shown: abi.WithRow(in)}
	if cfg.Verify > 0 {
		s.source = cfg.Module
	}
	cfg.Module = nil // compiled; not needed any more
	s.cfg = cfg
	if k == aggregating {
		s.shown = abi.WithGroup(in)
	}
	g, returns, err := s.start(ctx, s.journal(cfg.Log), 0, false)
	if err != nil {
		_ = m.close()
		return nil, nil, err
	}
	g.close()
	return s, returns, nil
}

func checkInput(in *batch.Schema) error {
	if len(in.Fields)+1 > abi.MaxColumns {
		return fmt.Errorf("gets %d columns: at most %d are possible; drop some before it", len(in.Fields), abi.MaxColumns-1)
	}
	for _, f := range in.Fields {
		if f.Name == abi.RowColumn || f.Name == abi.GroupColumn {
			return fmt.Errorf("gets a column named %s, which is reserved: rename it before this step", f.Name)
		}
		if f.Type.Kind == batch.Decimal || f.Type.Items().Kind == batch.Decimal {
			return fmt.Errorf("gets column %s, which is %s, and modules take no decimals: cast it to float64, int64 or string in a step before, or drop it", f.Name, f.Type)
		}
		if len(f.Name) > abi.MaxNameLen || strings.ContainsRune(f.Name, 0) {
			return fmt.Errorf("gets a column named %q: a name has at most %d bytes and no zero byte", shorten(f.Name, 64), abi.MaxNameLen)
		}
	}
	return nil
}

func readModule(path string, limit int) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errNoFile
	}
	if st.Size() > int64(limit) {
		return nil, fmt.Errorf("%d bytes are over the limit of %d", st.Size(), limit)
	}
	return os.ReadFile(path)
}

// iota32 is n int32 values 0, 1, 2, ... as bytes.
func iota32(n int) []byte {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(i)
	}
	return batch.Bytes(v)
}

// Name is how messages call the step.
func (s *Step) Name() string { return s.cfg.Name }

// In is the schema before the step.
func (s *Step) In() *batch.Schema { return s.in }

// Out is the schema after the step, without the row column.
func (s *Step) Out() *batch.Schema { return s.out }

// Digest is the SHA-256 of the module.
func (s *Step) Digest() [32]byte { return s.module.digest }

// Stateful tells whether the module keeps state: it exports weir_snapshot and weir_restore.
func (s *Step) Stateful() bool { return s.module.stateful }

// RangeSize is the bytes that the output of a batch needs at most, where a batch has up to rowsMax rows whose strings
// and lists have inBytes bytes together, and the operator neither adds rows nor makes longer ones. An operator that does is
// called with fewer rows at once.
func (s *Step) RangeSize(rowsMax, inBytes int) int {
	size, text := 0, false
	for _, f := range s.fields {
		pad := func(n int) int { return (n + batch.Align - 1) &^ (batch.Align - 1) }
		size += pad(batch.BitmapLen(rowsMax))
		switch {
		case f.Type.Kind == batch.Bool:
			size += pad(batch.BitmapLen(rowsMax))
		case f.Type.Variable(), f.Type.Kind == batch.List:
			size += pad(4*(rowsMax+1)) + 2*batch.Align
			text = true
		default:
			size += pad(f.Type.Width() * rowsMax)
		}
	}
	if text {
		size += inBytes
	}
	return size
}

// Close frees the compiled code.
func (s *Step) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.slow != nil {
		err = s.slow.Close()
	}
	return errors.Join(err, s.module.close())
}
