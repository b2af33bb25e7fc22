package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/sink"
)

// Recorded plans a revision as ClickHouse has it recorded, with this pipeline's brokers and tables. file is the pipeline's file, and
// folders are where modules are looked for, by their digests, beside where they were and beside the file's. The plan is the
// caller's.
func (r *Replayer) Recorded(ctx context.Context, revision string, file []byte, folders []string) (*Plan, error) {
	recorded, err := r.recorded(ctx, revision)
	if err != nil {
		return nil, err
	}
	fail := func(err error) error { return fmt.Errorf("run revision %s as it is recorded: %w", revision, err) }
	modules := r.modules(recorded, folders)
	text, err := config.Recorded(file, recorded.Spec, func(digest string, n int) (path, name string, err error) {
		if n > 0 {
			prefix := fmt.Sprintf("%d wasm ", n)
			for _, o := range recorded.Operators {
				if rest, ok := strings.CutPrefix(o.Step, prefix); ok && o.Digest == digest {
					name = rest
				}
			}
		}
		path, err = modules.find(digest)
		return path, name, err
	})
	if err != nil {
		return nil, fail(err)
	}
	spec, err := config.Parse(r.plan.Spec.File, text)
	if err == nil {
		err = spec.Use(r.plan.Node)
	}
	if err != nil {
		return nil, fail(err)
	}
	p, err := New(ctx, spec, r.plan.Node, Options{Log: r.log})
	if err != nil {
		return nil, fail(err)
	}
	if got := sink.RevisionText(p.Revision); got != revision {
		err := fmt.Errorf("what is recorded makes revision %s here: a setting of it is a secret that is not recorded, or refers to an environment that is another one", got)
		return nil, errors.Join(fail(err), p.Close())
	}
	return p, nil
}

// modulesByDigest finds files of modules by what is in them.
type modulesByDigest struct {
	candidates []string
	recorded   []sink.Operator
	digests    map[string]string // path by digest, once they were read
}

// maxModule bounds what is read to find a module.
const maxModule = 256 << 20

// modules lists where modules may be: where they were, beside those of the file, and in folders.
func (r *Replayer) modules(recorded *sink.Revision, folders []string) *modulesByDigest {
	m := &modulesByDigest{recorded: recorded.Operators}
	for _, o := range recorded.Operators {
		m.candidates = append(m.candidates, o.File)
	}
	for _, own := range r.plan.Modules {
		folders = append(folders, filepath.Dir(own.File))
	}
	folders = append(folders, filepath.Dir(r.plan.Spec.File))
	slices.Sort(folders)
	for _, f := range slices.Compact(folders) {
		entries, err := os.ReadDir(f)
		if err != nil {
			continue // what is not found in the end is named
		}
		for _, e := range entries {
			if !e.IsDir() && filepath.Ext(e.Name()) == ".wasm" {
				m.candidates = append(m.candidates, filepath.Join(f, e.Name()))
			}
		}
	}
	return m
}

func (m *modulesByDigest) find(digest string) (string, error) {
	if m.digests == nil {
		m.digests = map[string]string{}
		for _, path := range m.candidates {
			if sum, err := digestOf(path); err == nil {
				m.digests[sum] = path
			}
		}
	}
	path, ok := m.digests[digest]
	if !ok {
		was := ""
		for _, o := range m.recorded {
			if o.Digest == digest {
				was = ", which was " + o.File
			}
		}
		return "", fmt.Errorf("the module with SHA-256 %s%s is not here: say with --operators in which folder it is", digest, was)
	}
	abs, err := filepath.Abs(path) // the file's paths are relative to its folder
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", path, err)
	}
	return abs, nil
}

func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxModule)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
