// Package wasm runs an operator of the user's as a step: a WebAssembly module that follows the contract of package abi
// (operators/abi/ABI.md), in wazero, without copying the batches.
//
// The pipeline package makes a [Step] per use of a module, and opens one instance of it per chain.
//
// # How a batch crosses
//
// An instance maps its chain's pool into its own linear memory once, for its life: the whole pool copy-on-write, to
// read, and the range it owns shared, to write.
//
//	guest memory   | static, stack, heap ... | IN: the pool   | OUT: own range | scratch | ... heap |
//	mapped on                                  MAP_PRIVATE      MAP_SHARED
//
// So a buffer at pool offset o is at address IN+o in every guest of the chain, and what a guest writes to its OUT slot is
// in the pool when it returns. A guest can store into IN, but that is its own page from then on: neither the host nor
// another guest sees it. The block that holds the windows comes from the guest's own weir_alloc, since every other place
// collides with some language's allocator.
//
// Where there is no memfd, and where the configuration says [Copy], buffers are copied in and out instead; the
// bytes are counted.
//
// # What is trusted
//
// Nothing. The module is checked before it is compiled (admission.go), gets no files, network, clock or randomness
// (wasi.go), and everything it returns is checked before it becomes a column (import.go). After a trap, an error or a
// bad result the instance is thrown away.
//
// # What ends a guest
//
// Fuel (fuel.go). Package meter rewrites the module so that it pays for what it runs, traps when the fuel of the call is
// spent, and gives way to Go some thousand times a second, so that neither a garbage collection nor another goroutine
// waits for it. How much a call gets is a function of its rows, so whether it ends is a function of its batch.
// What was used is counted for each instance ([operators.Usage]).
//
// A deadline stands behind it, for a machine that is far too slow or a limit that is far too high. It is no function of
// the rows: the batch then fails, and no row is rejected.
package wasm
