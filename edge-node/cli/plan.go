package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/pipeline"
)

// pipelineFiles replaces folders by the pipeline files in them.
func pipelineFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		var path *fs.PathError
		if errors.As(err, &path) && arg != "-" {
			return nil, fmt.Errorf("read %s: %w", arg, path.Err)
		}
		if arg == "-" || !info.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			name := e.Name()
			ext := filepath.Ext(name)
			if !e.IsDir() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(name, ".") && name != "node.yaml" && name != "node.yml" {
				files = append(files, filepath.Join(arg, name))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s has no pipeline files (*.yaml, *.yml)", arg)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// loadPipeline reads a pipeline file; "-" is stdin.
func (a *app) loadPipeline(file string) (*config.Pipeline, error) {
	if file != "-" {
		return config.Load(file)
	}
	data, err := io.ReadAll(io.LimitReader(a.stdin, maxSQL+1))
	if err != nil {
		return nil, fmt.Errorf("read the pipeline from stdin: %w", err)
	}
	return config.Parse("stdin", data)
}

// servers says whether the brokers and the ClickHouse of a plan must be known.
type servers bool

const (
	noServers   servers = false
	withServers servers = true
)

// planFile reads and plans one file.
func (a *app) planFile(ctx context.Context, file string, node config.Node, want servers, opts pipeline.Options) (*pipeline.Plan, error) {
	spec, err := a.loadPipeline(file)
	if err != nil {
		return nil, err
	}
	return a.planSpec(ctx, spec, node, want, opts)
}

// planSpec plans what a file says.
func (a *app) planSpec(ctx context.Context, spec *config.Pipeline, node config.Node, want servers, opts pipeline.Options) (*pipeline.Plan, error) {
	if err := spec.Use(node); err != nil && want == withServers {
		return nil, err
	}
	return pipeline.New(ctx, spec, node, opts)
}

// planFiles plans all files, and fails with the errors of all that have some.
func (a *app) planFiles(ctx context.Context, files []string, node config.Node, want servers, opts pipeline.Options) ([]*pipeline.Plan, error) {
	var plans []*pipeline.Plan
	var invalid config.Errors
	names := map[string]string{}
	for _, file := range files {
		p, err := a.planFile(ctx, file, node, want, opts)
		var es config.Errors
		switch {
		case errors.As(err, &es):
			invalid = append(invalid, es...)
			continue
		case err != nil:
			return plans, err
		}
		plans = append(plans, p)
		if other, dup := names[p.Spec.Name]; dup {
			invalid = append(invalid, p.Spec.ErrorAt("pipeline", "the pipeline %q is also in %s", p.Spec.Name, other).
				WithHint("give each its own name"))
		}
		names[p.Spec.Name] = file
	}
	return plans, invalid.Err()
}

// closePlans frees what plans hold, after whatever happened before.
func closePlans(plans []*pipeline.Plan, err error) error {
	for _, p := range plans {
		err = errors.Join(err, p.Close())
	}
	return err
}
