package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Cache keeps compiled code, so that steps of one process that use the same module compile it once. It is safe for
// concurrent use.
//
// An entry is the code of what the compiler was given: the module after admission and rewriting, so the same module under
// limits that change those bytes is another entry. It is freed when the last step that uses it is closed (its machine code at
// the garbage collection after that). The cache is closed after every step that used it.
type Cache struct {
	shared wazero.CompilationCache
	disk   *disk // nil: memory alone

	mu      sync.Mutex
	entries map[entryKey]*entry // guarded by mu
	keep    bool                // guarded by mu: entries stay until the cache is closed
	closed  bool                // guarded by mu

	compiled, hits, diskHits, damaged atomic.Int64
}

// entryKey names code: the digest of what the compiler was given, and which of the engines it is for.
type entryKey struct {
	digest      [sha256.Size]byte
	interpreter bool
}

// entry is the code of one module, and the host functions it is linked with.
type entry struct {
	key      entryKey
	uses     int           // guarded by Cache.mu; counts those who wait, too
	ready    chan struct{} // closed when the rest is there
	err      error
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

// CacheStatus is what a cache holds and has done.
type CacheStatus struct {
	Modules  int   // whose code is in memory now
	Compiled int64 // modules that were compiled
	Hits     int64 // steps that used code that was in memory
	DiskHits int64 // modules whose code came from the disk
	Damaged  int64 // files of the disk that were not what this node had written, and were set aside
}

// NewCache makes an empty cache in memory.
func NewCache() *Cache {
	return &Cache{shared: wazero.NewCompilationCache(), entries: map[entryKey]*entry{}}
}

// KeepUnused makes the cache keep entries that no step uses until it is closed: for tools that plan the same module again and
// again.
func (c *Cache) KeepUnused() *Cache {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep = true
	return c
}

// Status is what the cache holds and has done.
func (c *Cache) Status() CacheStatus {
	c.mu.Lock()
	n := len(c.entries)
	c.mu.Unlock()
	return CacheStatus{n, c.compiled.Load(), c.hits.Load(), c.diskHits.Load(), c.damaged.Load()}
}

// Close frees the cache. It is an error, and a bug of the caller's, if code in it is still in use; that code stays. Closing
// twice is fine.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	used := 0
	for _, e := range c.entries {
		if e.uses > 0 {
			used++
		}
	}
	if used > 0 {
		return fmt.Errorf("close the cache of compiled modules: %d are in use", used)
	}
	if c.closed {
		return nil
	}
	c.closed = true
	var err error
	for key, e := range c.entries {
		err = errors.Join(err, e.free())
		delete(c.entries, key)
	}
	err = errors.Join(err, c.shared.Close(context.Background()))
	if c.disk != nil {
		err = errors.Join(err, c.disk.close())
	}
	return err
}

// get returns the code of a module, compiled once. Each entry that is returned must be put back.
func (c *Cache) get(ctx context.Context, module []byte, interpreter bool) (*entry, error) {
	key := entryKey{sha256.Sum256(module), interpreter}
	for {
		e, mine, err := c.find(key)
		if err != nil {
			return nil, err
		}
		if mine {
			e.err = withoutPanic(func() error { return c.compile(ctx, e, module) })
			c.mu.Lock()
			if e.err != nil {
				delete(c.entries, key) // nobody finds it any more; those who wait see why
			}
			c.mu.Unlock()
			close(e.ready)
			return e, e.err
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			c.put(e)
			return nil, ctx.Err()
		}
		if e.err == nil {
			c.hits.Add(1)
			return e, nil
		}
		if !errors.Is(e.err, context.Canceled) && !errors.Is(e.err, context.DeadlineExceeded) {
			return nil, e.err
		}
		// Whoever compiled it gave up. That is not about the module.
	}
}

// find returns the entry of a key. It is the caller's to compile if it was not there.
func (c *Cache) find(key entryKey) (e *entry, mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, errors.New("the cache of compiled modules is closed")
	}
	e = c.entries[key]
	if e == nil {
		e, mine = &entry{key: key, ready: make(chan struct{})}, true
		c.entries[key] = e
	}
	e.uses++
	return e, mine, nil
}

// put gives an entry back. The last one frees it.
func (c *Cache) put(e *entry) error {
	c.mu.Lock()
	e.uses--
	last := e.uses == 0 && c.entries[e.key] == e && !c.keep
	if last {
		delete(c.entries, e.key)
	}
	c.mu.Unlock()
	if !last {
		return nil
	}
	<-e.ready // those who wait may be the last
	return e.free()
}

func (e *entry) free() error {
	var err error
	if e.runtime != nil { // ends the host modules, and their code
		err = e.runtime.Close(context.Background())
	}
	if e.compiled != nil { // the runtime leaves it alone, since the engine is shared
		err = errors.Join(err, e.compiled.Close(context.Background()))
	}
	e.runtime, e.compiled = nil, nil
	return err
}

// compile fills an entry, from the disk if it is there.
func (c *Cache) compile(ctx context.Context, e *entry, module []byte) error {
	if c.disk != nil && !e.key.interpreter {
		from, err := c.disk.compile(ctx, e, module)
		c.damaged.Add(from.damaged)
		switch {
		case err == nil && from.hit:
			c.diskHits.Add(1)
			return nil
		case err == nil:
			c.compiled.Add(1)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// The disk is full, or gone, or the module is wrong: whatever it is, the disk must not be needed.
	}
	c.compiled.Add(1)
	return e.compile(ctx, c.shared, module)
}

// compile makes the runtime of an entry, compiles the module in it, and offers it the host functions.
func (e *entry) compile(ctx context.Context, shared wazero.CompilationCache, module []byte) (err error) {
	rc := wazero.NewRuntimeConfig()
	if e.key.interpreter {
		rc = wazero.NewRuntimeConfigInterpreter()
	}
	// The core features of version 2 leave out threads, tail calls and exceptions: such code is refused as invalid.
	rc = rc.WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false).WithCompilationCache(shared)
	e.runtime = wazero.NewRuntimeWithConfig(ctx, rc)
	defer func() {
		if err != nil {
			_ = e.free()
		}
	}()
	if e.compiled, err = e.runtime.CompileModule(ctx, module); err != nil {
		return err
	}
	return offer(ctx, e.runtime)
}
