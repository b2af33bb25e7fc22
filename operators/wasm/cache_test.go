package wasm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// use plans a step with a cache, runs some rows through it, and gives it back.
func use(t testing.TB, cache *Cache, cfg Config) {
	t.Helper()
	schema, rows := sensors(t, 3)
	cfg.Cache = cache
	c := newChain(t, schema, 64<<10, cfg)
	b := c.decode(t, schema, rows)
	if err := c.ops[0].Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if b.Rows != 3 {
		t.Fatalf("%d rows", b.Rows)
	}
	b.Release()
	if err := c.ops[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.steps[0].Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCacheCompilesOnce(t *testing.T) {
	schema, _ := sensors(t, 0)
	cache := NewCache()
	module := example(t, "calibrate")
	open := func(cfg Config) *Step {
		t.Helper()
		cfg.Module, cfg.Cache = module, cache
		s, err := New(context.Background(), cfg, schema)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// What the limits change in the bytes is other code; what they do not is the same.
	steps := []*Step{open(Config{}), open(Config{MemoryLimit: 1 << 20, FuelPerRow: 7}), open(Config{}), open(Config{unmetered: true}), open(Config{Interpreter: true})}
	if got, want := cache.Status(), (CacheStatus{Modules: 3, Compiled: 3, Hits: 2}); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
	if steps[0].module.code != steps[1].module.code || steps[0].module.code == steps[3].module.code {
		t.Error("entries are not shared, or too much")
	}
	if err := cache.Close(); err == nil || !strings.Contains(err.Error(), "3 are in use") {
		t.Errorf("closed under its steps: %v", err)
	}
	for _, s := range steps {
		for range 2 { // closing twice is fine, and gives back once
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := cache.Status().Modules; n != 0 {
		t.Errorf("%d modules are left", n)
	}
	for range 2 {
		if err := cache.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(context.Background(), Config{Module: module, Cache: cache}, schema); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("a closed cache gives code: %v", err)
	}
}

func TestCacheKeepsUnused(t *testing.T) {
	cache := NewCache().KeepUnused()
	for range 2 {
		use(t, cache, Config{Module: example(t, "calibrate")})
	}
	if got, want := cache.Status(), (CacheStatus{Modules: 1, Compiled: 1, Hits: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err := cache.Close(); err != nil || cache.Status().Modules != 0 {
		t.Error(err)
	}
}

// TestCacheTogether plans the same and other modules at the same time.
func TestCacheTogether(t *testing.T) {
	schema, _ := sensors(t, 0)
	cache := NewCache()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 10 {
				name := []string{"calibrate", "severity"}[(i+n)%2]
				s, err := New(context.Background(), Config{Module: example(t, name), Cache: cache}, schema)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s := cache.Status(); s.Modules != 0 || s.Compiled+s.Hits != 160 {
		t.Errorf("%+v", s)
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
}

// TestCacheRefusals: a module that does not compile leaves nothing behind, and neither does a caller that gives up.
func TestCacheRefusals(t *testing.T) {
	schema, _ := sensors(t, 0)
	cache := NewCache()
	bad := source{bodies: map[int][]byte{0: {0x6a}}}.module() // adds what is not there
	for range 3 {
		if _, err := New(context.Background(), Config{Module: bad, Cache: cache}, schema); err == nil || !strings.Contains(err.Error(), "not a valid Wasm module") {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New(ctx, Config{Module: example(t, "calibrate"), Cache: cache}, schema); err == nil {
		t.Fatal("planned although its context has ended")
	}
	if s := cache.Status(); s.Modules != 0 {
		t.Errorf("%+v", s)
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
}

// TestCacheChurn plans and closes a thousand times, as a node does whose pipelines are replaced while it runs.
func TestCacheChurn(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	cache := NewCache()
	module := example(t, "calibrate")
	schema, _ := sensors(t, 0)
	version := 0
	cycles := func(n int) {
		for range n {
			version++ // each is another module, by its name
			name := fmt.Sprintf("%06d", version)
			named := append(bytes.Clone(module), section(0, []byte("\x04name\x00\x07\x06"+name)...)...)
			s, err := New(context.Background(), Config{Module: named, Cache: cache}, schema)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		// Machine code is unmapped by finalizers, which run after a collection.
		for range 3 {
			runtime.GC()
			runtime.Gosched()
		}
	}
	measure := func() (heap uint64, maps int) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return m.HeapAlloc, bytes.Count(b, []byte("\n"))
	}
	n := 1000
	if testing.Short() {
		n = 200
	}
	cycles(50)
	heap, maps := measure()
	cycles(n)
	heapAfter, mapsAfter := measure()
	t.Logf("%d cycles: heap %d KiB to %d KiB, %d mappings to %d", n, heap>>10, heapAfter>>10, maps, mapsAfter)
	if int64(heapAfter)-int64(heap) > 2<<20 || mapsAfter-maps > 20 {
		t.Errorf("after %d cycles the heap grew by %d KiB, and there are %d more mappings", n, (int64(heapAfter)-int64(heap))>>10, mapsAfter-maps)
	}
	if s := cache.Status(); s.Compiled != int64(version) {
		t.Errorf("%d versions: %+v", version, s)
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
}

// diskCache opens a cache on disk. The folder's parents are those of the test's temporary folder.
func diskCache(t testing.TB, dir string) *Cache {
	t.Helper()
	c, err := OpenCache(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// entryFile is the one entry of a folder.
func entryFile(t testing.TB, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return files[0]
}

func TestCacheOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "cache")
	calibrate, severity := Config{Module: example(t, "calibrate")}, Config{Module: example(t, "calibrate-rust")}
	run := func(want CacheStatus, cfgs ...Config) {
		t.Helper()
		c := diskCache(t, dir)
		for _, cfg := range cfgs {
			use(t, c, cfg)
		}
		if got := c.Status(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run(CacheStatus{Compiled: 1}, calibrate)
	run(CacheStatus{DiskHits: 1}, calibrate)
	run(CacheStatus{DiskHits: 1, Compiled: 1}, calibrate, severity)
	run(CacheStatus{DiskHits: 2}, severity, calibrate)
	interpreted := calibrate
	interpreted.Interpreter = true
	run(CacheStatus{Compiled: 1}, interpreted) // it has no machine code
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err == nil && st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
		found = append(found, d.Name())
		return err
	})
	if err != nil || len(found) != 5 { // the folder, two entries, key, lock
		t.Error(found, err)
	}
}

// TestCacheDamage changes every part of an entry: none of it is run, all of it is noticed, and the answer is the same.
func TestCacheDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	cfg := Config{Module: example(t, "calibrate")}
	first := diskCache(t, dir)
	use(t, first, cfg)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	file := entryFile(t, dir)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := diskCache(t, dir)
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	try := func(what string, bad []byte) {
		t.Helper()
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		before := c.Status()
		use(t, c, cfg)
		after := c.Status()
		if after.Damaged != before.Damaged+1 || after.Compiled != before.Compiled+1 || after.DiskHits != before.DiskHits {
			t.Fatalf("%s: %+v, then %+v", what, before, after)
		}
		if aside, err := os.ReadFile(file + ".damaged"); err != nil || !bytes.Equal(aside, bad) {
			t.Fatalf("%s: not set aside: %v", what, err)
		}
		if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, good) {
			t.Fatalf("%s: the new entry is another: %v", what, err)
		}
	}
	changed := func(at int, bit byte) []byte {
		b := bytes.Clone(good)
		b[at] ^= bit
		return b
	}
	step := max(1, len(good)/300)
	if testing.Short() {
		step = max(1, len(good)/60)
	}
	for at := 0; at < len(good); at++ {
		if at < diskHeader && at%7 == 0 || at >= diskHeader && at < diskHeader+64 && at%5 == 0 || at%step == 0 || at == len(good)-1 {
			try(fmt.Sprintf("byte %d of %d", at, len(good)), changed(at, 1<<(at%8)))
		}
	}
	for _, n := range []int{0, 1, 8, diskHeader - 1, diskHeader, diskHeader + 1, len(good) / 2, len(good) - 1} {
		try(fmt.Sprintf("cut to %d", n), good[:n:n])
	}
	try("longer", append(bytes.Clone(good), 0))
	longer := append(bytes.Clone(good), 0)
	binary.LittleEndian.PutUint64(longer[len(diskMagic)+diskNameLen:], uint64(len(good)-diskHeader+1))
	try("longer, and says so", longer)
	try("raw code", good[diskHeader:])

	// Entries that somebody else wrote, in good order: with another key, and for another module.
	other := filepath.Join(t.TempDir(), "other")
	foreign := diskCache(t, other)
	use(t, foreign, cfg)
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(entryFile(t, other))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(entryFile(t, other)) != filepath.Base(file) || bytes.Equal(b, good) {
		t.Fatal("the entries do not differ by their key alone")
	}
	try("of another key", b)
	use(t, c, Config{Module: example(t, "calibrate-rust")})
	files, _ := filepath.Glob(filepath.Join(dir, "*-*"))
	for _, f := range files {
		if f != file && !strings.HasSuffix(f, ".damaged") {
			if b, err = os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	try("of another module", b)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", file); err != nil {
		t.Fatal(err)
	}
	before := c.Status()
	use(t, c, cfg)
	if after := c.Status(); after.Damaged != before.Damaged+1 {
		t.Errorf("a link was followed: %+v", after)
	}
}

func TestCacheRefusesFolders(t *testing.T) {
	fails := func(dir, want string) {
		t.Helper()
		c, err := OpenCache(dir, nil)
		if err == nil {
			_ = c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", dir, err, want)
		}
	}
	base := t.TempDir()
	sub := func(name string, mode os.FileMode) string {
		t.Helper()
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	fails(sub("shared", 0o750), "others can get at it, with mode 0750: run chmod 700")
	fails(filepath.Join(sub("open", 0o777), "cache"), "can be written by others, who could replace it")
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(file, "not a directory")
	if os.Geteuid() == 0 {
		theirs := sub("theirs", 0o700)
		if err := os.Chown(theirs, 12345, -1); err != nil {
			t.Fatal(err)
		}
		fails(theirs, "belongs to another user")
		inside := filepath.Join(theirs, "cache")
		if err := os.Mkdir(inside, 0o700); err != nil {
			t.Fatal(err)
		}
		fails(inside, "belongs to user 12345, who could replace it")
	}
	used := sub("used", 0o700)
	c := diskCache(t, used)
	fails(used, "another process uses it")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(used, "key")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	fails(used, "with mode 0600: remove it")
	if err := os.WriteFile(key, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(used, "has 5 bytes, not 32")
}

// TestCacheWithoutRoom: what happens to the folder while the node runs costs time, and nothing else.
func TestCacheWithoutRoom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c := diskCache(t, dir)
	if err := os.RemoveAll(filepath.Join(dir, "work")); err != nil {
		t.Fatal(err)
	}
	use(t, c, Config{Module: example(t, "calibrate")})
	if s := c.Status(); s.Compiled != 1 || s.DiskHits != 0 {
		t.Errorf("%+v", s)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkPlan is the time from a module's bytes to a step: compiled, from the disk, and from memory.
func BenchmarkPlan(b *testing.B) {
	schema, _ := sensors(b, 0)
	for _, name := range []string{"calibrate", "calibrate-rust", "calibrate-assemblyscript", "calibrate-go"} {
		cfg := Config{Module: example(b, name)}
		plan := func(b *testing.B, c *Cache) {
			cfg.Cache = c
			s, err := New(context.Background(), cfg, schema)
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(name+"/compile", func(b *testing.B) {
			c := NewCache()
			for b.Loop() {
				plan(b, c)
			}
		})
		b.Run(name+"/disk", func(b *testing.B) {
			c := diskCache(b, filepath.Join(b.TempDir(), "cache"))
			plan(b, c)
			for b.Loop() {
				plan(b, c)
			}
			if s := c.Status(); s.Compiled != 1 {
				b.Fatalf("%+v", s)
			}
			_ = c.Close()
		})
		b.Run(name+"/memory", func(b *testing.B) {
			cfg.Cache = NewCache()
			s, err := New(context.Background(), cfg, schema)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				plan(b, cfg.Cache)
			}
			_ = s.Close()
		})
	}
}
