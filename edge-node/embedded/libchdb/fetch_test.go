package libchdb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// archive builds a package that holds the library.
func archive(t *testing.T, library []byte) ([]byte, pin) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range []struct {
		name string
		data []byte
	}{{"package/package.json", []byte("{}")}, {"package/libchdb.so", library}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	sum := func(p []byte) string { h := sha256.Sum256(p); return hex.EncodeToString(h[:]) }
	return b.Bytes(), pin{
		npmSpec: "pkg@1", archiveSHA256: sum(b.Bytes()), archiveSize: int64(b.Len()),
		librarySHA256: sum(library), librarySize: int64(len(library)), member: "package/libchdb.so",
	}
}

func gives(data []byte) client {
	return client{"fake", func(_ context.Context, dir, _ string) error {
		return os.WriteFile(filepath.Join(dir, "a.tgz"), data, 0o644)
	}}
}

func fails(name string) client {
	return client{name, func(context.Context, string, string) error { return errors.New("not found on PATH") }}
}

func TestFetch(t *testing.T) {
	library := bytes.Repeat([]byte("library "), 100_000)
	good, p := archive(t, library)
	wrongLibrary := p
	wrongLibrary.librarySHA256 = strings.Repeat("0", 64)
	longer := p
	longer.librarySize--
	elsewhere := p
	elsewhere.member = "package/other.so"
	for _, c := range []struct {
		name    string
		clients []client
		pin     pin
		want    string // "" is success
	}{
		{"good", []client{gives(good)}, p, ""},
		{"second client", []client{fails("npm"), gives(good)}, p, ""},
		{"tampered archive, then a good one", []client{gives(append([]byte("x"), good...)), gives(good)}, p, ""},
		{"tampered archive", []client{gives(good[:len(good)-1])}, p, "not the pinned"},
		{"no client", []client{fails("npm"), fails("pip (for npm)")}, p, "npm: not found on PATH\n         pip (for npm): not found on PATH\n  do one of: install npm; or fetch that package elsewhere, unpack libchdb.so from it and set WEIR_LIBCHDB"},
		{"client without a result", []client{{"npm", func(context.Context, string, string) error { return nil }}}, p, "found 0"},
		{"wrong library", []client{gives(good)}, wrongLibrary, "it is not used"},
		{"library too long", []client{gives(good)}, longer, "it is not used"},
		{"no library", []client{gives(good)}, elsewhere, "holds no package/other.so"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			var out bytes.Buffer
			path, err := fetchInto(context.Background(), dir, c.pin, c.clients, newReporter(&out))
			if c.want == "" {
				got, readErr := os.ReadFile(path)
				if err != nil || readErr != nil || !bytes.Equal(got, library) {
					t.Errorf("got %d bytes, %v, %v", len(got), err, readErr)
				}
				if !strings.Contains(out.String(), "unpacking 100%") || strings.Contains(out.String(), "\r") {
					t.Errorf("progress: %q", out.String())
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			left, _ := os.ReadDir(dir)
			for _, e := range left {
				if e.Name() != "libchdb.so" || c.want != "" {
					t.Errorf("left behind: %s", e.Name())
				}
			}
		})
	}
}

func TestFetchIsCancelled(t *testing.T) {
	_, p := archive(t, []byte("x"))
	ctx, cancel := context.WithCancel(context.Background())
	slow := client{"npm", func(ctx context.Context, _, _ string) error { cancel(); <-ctx.Done(); return ctx.Err() }}
	if _, err := fetchInto(ctx, t.TempDir(), p, []client{slow, fails("other")}, newReporter(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLockLetsOneFetch(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no flock")
	}
	dir := t.TempDir()
	var mu sync.Mutex
	inside, most := 0, 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			unlock, err := lockDir(context.Background(), dir, newReporter(nil))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			mu.Lock()
			inside--
			mu.Unlock()
			unlock()
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d were inside at once", most)
	}
	unlock, err := lockDir(context.Background(), dir, newReporter(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := lockDir(ctx, dir, newReporter(nil)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestLocate(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv(EnvPath, "")
	if _, ok := pins()[runtime.GOOS+"/"+runtime.GOARCH]; ok {
		if _, err := Locate(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "make libchdb") {
			t.Errorf("got %v", err)
		}
		dir, err := CacheDir()
		if err != nil || !strings.HasPrefix(dir, cache) {
			t.Fatalf("%s, %v", dir, err)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "libchdb.so"), []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Locate(); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "has 4 bytes") {
			t.Errorf("got %v", err)
		}
	}
	own := filepath.Join(cache, "own.so")
	if err := os.WriteFile(own, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{own: "", cache: "is not a file", own + ".absent": "look for the library named by WEIR_LIBCHDB"} {
		t.Setenv(EnvPath, value)
		path, err := Locate()
		if want == "" && (err != nil || path != own) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %s, %v", value, path, err)
		}
		if want != "" {
			if _, err := Ensure(context.Background(), nil); err == nil {
				t.Error("Ensure fetched although WEIR_LIBCHDB was set")
			}
		}
	}
}

// TestRunReportsTheClient checks that a client's own words reach the user.
func TestRunReportsTheClient(t *testing.T) {
	err := run(context.Background(), t.TempDir(), nil, "sh", "-c", "echo no such package >&2; exit 4")
	if err == nil || !strings.Contains(err.Error(), "exit status 4: no such package") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, fmt.Errorf("too slow"))
	defer cancel()
	if err := run(ctx, t.TempDir(), nil, "sleep", "10"); err == nil || err.Error() != "too slow" {
		t.Errorf("got %v", err)
	}
}
