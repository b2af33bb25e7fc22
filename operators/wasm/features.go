package wasm

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/weir-stream/weir/operators/wasm/meter"
)

// coreFeatures are the proposals beyond the first version of WebAssembly that operators may use, as its specification and
// compilers name them.
var coreFeatures = []struct {
	name string
	bit  api.CoreFeatures
}{
	{"bulk-memory", api.CoreFeatureBulkMemoryOperations},
	{"multivalue", api.CoreFeatureMultiValue},
	{"mutable-globals", api.CoreFeatureMutableGlobal},
	{"nontrapping-fptoint", api.CoreFeatureNonTrappingFloatToIntConversion},
	{"reference-types", api.CoreFeatureReferenceTypes},
	{"sign-ext", api.CoreFeatureSignExtensionOps},
	{"simd128", api.CoreFeatureSIMD},
}

// Features lists the proposals that a module cannot do without, by asking the runtime: without each of them, is the module
// valid? It runs nothing. A module that is not valid at all is an error.
func Features(ctx context.Context, module []byte) ([]string, error) {
	if len(module) > DefaultModuleLimit {
		return nil, fmt.Errorf("read the module: %d bytes are over the limit of %d", len(module), DefaultModuleLimit)
	}
	used := []string{}
	a, err := admit(module, DefaultTableLimit)
	if err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	// The rewriter refuses lists that are longer than the module, for which the runtime would reserve memory.
	if _, err := meter.Rewrite(a.module, meter.Limits{Size: meteredSize * DefaultModuleLimit, Stack: DefaultStack}); err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	valid := func(features api.CoreFeatures) error {
		rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(features).WithDebugInfoEnabled(false))
		_, err := rt.CompileModule(ctx, a.module)
		_ = rt.Close(ctx)
		return err
	}
	if err := valid(api.CoreFeaturesV2); err != nil {
		return nil, fmt.Errorf("read the module: %w", err)
	}
	if valid(0) == nil {
		return used, nil
	}
	for _, f := range coreFeatures {
		if valid(api.CoreFeaturesV2&^f.bit) != nil {
			used = append(used, f.name)
		}
	}
	return used, nil
}
