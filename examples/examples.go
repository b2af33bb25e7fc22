// Package examples holds the example pipelines and operators as files inside the binary, so that the demo runs
// wherever the binary is. The demo writes them to a folder and runs them from there like anybody else's.
package examples

import "embed"

// Files has sensors/pipeline.yaml and the operator it names, at the same paths as here.
//
//go:embed sensors/pipeline.yaml operators/calibrate/calibrate.wasm
var Files embed.FS
