package pipeline

import (
	"log/slog"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/operators/wasm"
)

// Modules are the compiled Wasm operators of a process: what several steps or pipelines use is compiled once.
type Modules struct{ cache *wasm.Cache }

// ModulesStatus is what they hold and have done.
type ModulesStatus = wasm.CacheStatus

// OpenModules makes room for compiled operators: in memory, and in the node's folder where it has one.
func OpenModules(node config.Node, log *slog.Logger) (*Modules, error) {
	if node.WasmCache == "" {
		return &Modules{wasm.NewCache()}, nil
	}
	c, err := wasm.OpenCache(node.WasmCache, log)
	if err != nil {
		return nil, err
	}
	return &Modules{c}, nil
}

// Status is what they hold and have done.
func (m *Modules) Status() ModulesStatus { return m.cache.Status() }

// Close frees them. Every plan that used them is closed before.
func (m *Modules) Close() error { return m.cache.Close() }
