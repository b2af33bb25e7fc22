// Package libchdb finds, fetches and drives libchdb, the ClickHouse engine as one shared library with a C interface.
//
// It owns two things. The first is the file: Locate says where the pinned library is, Ensure fetches it with a package
// client that is already on the machine, checks it against pinned checksums and puts it into a cache outside the source
// tree. The second is the binding: Open loads the library into this process without cgo, and Engine, Conn, Stream and
// Insert wrap its C interface.
//
// Only edge-node/embedded/clickhouse calls the binding, and only in a process of its own: the engine takes 0.2 to 1 GB,
// and a crash inside it ends the process. The package promises that Go's own signal handlers survive loading it.
package libchdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Version is the pinned release of libchdb. Its engine answers SELECT version() with 26.7.2.1.
const Version = "26.7.3"

// EnvPath names the environment variable that holds the path of a library to use instead of the pinned one. Such a
// library is taken as it is: its checksum is not looked at.
const EnvPath = "WEIR_LIBCHDB"

// ErrMissing is wrapped by Locate when no library is there yet. Ensure, or `make libchdb`, fetches it.
var ErrMissing = errors.New("libchdb is not installed")

// Locate returns the path of a library that can be opened. It never uses the network and never writes.
//
// WEIR_LIBCHDB wins; then the cache. The cache is trusted by name and size: Ensure checked the sum when it put it there.
func Locate() (string, error) {
	if p := os.Getenv(EnvPath); p != "" {
		return fromEnv(p)
	}
	path, err := cachePath()
	if err != nil {
		return "", err
	}
	p, err := pinned()
	if err != nil {
		return "", err
	}
	switch fi, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%w: %s is not there; run `make libchdb`, or set %s to a libchdb.so", ErrMissing, path, EnvPath)
	case err != nil:
		return "", fmt.Errorf("look for libchdb: %w", err)
	case fi.Size() != p.librarySize:
		return "", fmt.Errorf("%w: %s has %d bytes instead of %d; remove it and run `make libchdb`", ErrMissing, path, fi.Size(), p.librarySize)
	}
	return path, nil
}

func fromEnv(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", fmt.Errorf("resolve %s=%q: %w", EnvPath, p, err)
	}
	fi, err := os.Stat(abs)
	if err != nil {
		return "", fmt.Errorf("look for the library named by %s: %w", EnvPath, err)
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%s=%s is not a file; it must name libchdb.so itself", EnvPath, abs)
	}
	return abs, nil
}

// CacheDir is the folder the pinned library lives in: <user cache>/weir/libchdb/<version>.
func CacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder for libchdb: %w; set XDG_CACHE_HOME, or %s to a libchdb.so", err, EnvPath)
	}
	return filepath.Join(base, "weir", "libchdb", Version), nil
}

func cachePath() (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "libchdb.so"), nil
}

// pin is one verified artefact.
type pin struct {
	npmSpec       string // what `npm pack` is asked for
	archiveSHA256 string
	archiveSize   int64
	librarySHA256 string
	librarySize   int64
	member        string // path of the library inside the archive
}

// pins lists what has been downloaded and checked, by GOOS/GOARCH. A platform that is not listed needs WEIR_LIBCHDB.
func pins() map[string]pin {
	return map[string]pin{
		"linux/amd64": {
			npmSpec:       "@chdb/lib-linux-x64-gnu@" + Version + "-stable.1",
			archiveSHA256: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
			archiveSize:   177817999,
			librarySHA256: "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5",
			librarySize:   566330096,
			member:        "package/libchdb.so",
		},
	}
}

func pinned() (pin, error) {
	here := runtime.GOOS + "/" + runtime.GOARCH
	all := pins()
	if p, ok := all[here]; ok {
		return p, nil
	}
	known := make([]string, 0, len(all))
	for k := range all {
		known = append(known, k)
	}
	return pin{}, fmt.Errorf("no libchdb is pinned for %s (only for %s); set %s to a libchdb %s built for it",
		here, strings.Join(known, ", "), EnvPath, Version)
}
