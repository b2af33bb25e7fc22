// Package abi is the contract between weir and a WebAssembly operator, in Go: names, limits, struct layouts, and the
// reading and writing of schemas. ABI.md beside it is the same contract for authors of operators and guest libraries.
//
// The host side (operators/wasm) and tools that inspect a module use it. It knows nothing of any Wasm runtime, and
// everything it reads is taken for hostile: the readers return errors, never panic, and never follow a pointer that
// they have not checked.
package abi

// Version is what a guest's weir_abi returns.
const Version = 1

// The exports of an operator. A module must have all but the optional ones, with these signatures, and a memory.
const (
	ExportMemory     = "memory"
	ExportInitialize = "_initialize"   // () optional: constructors of the guest's language, called once, first
	ExportABI        = "weir_abi"      // () -> i32 version
	ExportAlloc      = "weir_alloc"    // (size i32) -> i32 address, a multiple of PageSize, never freed; 0 is failure
	ExportOpen       = "weir_open"     // (config, config_len, in_schema i32) -> i32 out schema; 0 is refusal
	ExportWindows    = "weir_windows"  // (in, in_len, out, out_len i32)
	ExportProcess    = "weir_process"  // (array, out, out_cap i32) -> i32 array; 0 is failure, Full is "fewer rows"
	ExportSnapshot   = "weir_snapshot" // () -> i32 address of StateSize bytes; 0 is failure. Makes an operator stateful
	ExportRestore    = "weir_restore"  // (state, state_len i32) -> i32 1, or 0 which is refusal; with ExportSnapshot
	ExportFlush      = "weir_flush"    // reserved: a module that has it is refused
)

// The exports of an aggregate, in place of ExportWindows and ExportProcess. The addresses are those of ArrowArrays; 0 is
// failure, and Full is "fewer rows".
const (
	ExportAccumulate = "weir_accumulate" // (rows, states, out, out_cap i32) -> i32 states
	ExportMerge      = "weir_merge"      // (states, states, out, out_cap i32) -> i32 states
	ExportFinish     = "weir_finish"     // (states, out, out_cap i32) -> i32 values
)

// GroupColumn is the name of the hidden column of an aggregate: the number of each row's group, int32. It is the last
// column of every schema and array of rows that an aggregate is given; groups count from 0 and never fall.
const GroupColumn = "_group"

// StateColumn is the name of the one column of an array of states: binary, and null where a group has none yet.
const StateColumn = "state"

// The imports that weir offers under the module name ImportModule. None is required.
const (
	ImportModule = "weir"
	ImportLog    = "log"   // (level, address, length i32)
	ImportError  = "error" // (address, length i32)
)

// WASIModule is the module name of the stubs that some languages' runtimes need to start.
const WASIModule = "wasi_snapshot_preview1"

// StateSize is the bytes that weir_snapshot returns the address of: address u32, length u32 of the state. They and the
// state stay valid until the next call.
const StateSize = 8

// Full is what weir_process returns when the output does not fit: the host calls again with fewer rows. No array can
// have this address, since arrays are 8-aligned.
const Full = 1

// RowColumn is the name of the hidden column: the number of each row in the batch, int32. It is the last column of
// every schema and array a guest is given. A guest that returns it tells which input row each output row comes from.
const RowColumn = "_row"

// Limits of what crosses the border.
const (
	PageSize      = 64 << 10 // alignment of windows; a Wasm page
	MaxColumns    = 1024     // columns of a schema, RowColumn included
	MaxNameLen    = 255      // bytes of a column name
	MaxConfigLen  = 1 << 20  // bytes of a step's configuration
	MaxMessageLen = 1 << 10  // bytes of a message that are kept
)

// ArrowSchema in the wasm32 layout of the Arrow C data interface: every pointer is a u32, every int64 8-aligned.
// Source: https://arrow.apache.org/docs/format/CDataInterface.html.
//
//	 0 format u32     4 name u32        8 metadata u32  (12 padding)
//	16 flags i64     24 n_children i64
//	32 children u32  36 dictionary u32 40 release u32   44 private_data u32
const (
	SchemaSize       = 48
	SchemaFormat     = 0
	SchemaName       = 4
	SchemaMetadata   = 8
	SchemaFlags      = 16
	SchemaNChildren  = 24
	SchemaChildren   = 32
	SchemaDictionary = 36

	FlagNullable = 2 // ARROW_FLAG_NULLABLE in ArrowSchema.flags
)

// ArrowArray in the wasm32 layout.
//
//	 0 length i64     8 null_count i64 16 offset i64
//	24 n_buffers i64 32 n_children i64
//	40 buffers u32   44 children u32   48 dictionary u32 52 release u32 56 private_data u32 (60 padding)
const (
	ArraySize       = 64
	ArrayLength     = 0
	ArrayNullCount  = 8
	ArrayOffset     = 16
	ArrayNBuffers   = 24
	ArrayNChildren  = 32
	ArrayBuffers    = 40
	ArrayChildren   = 44
	ArrayDictionary = 48
)
