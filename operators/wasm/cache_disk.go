package wasm

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
)

// disk keeps compiled code from one run to the next, in a folder that nobody else may write or read. It is laid out so:
//
//	DIR/key             32 random bytes, made once
//	DIR/lock            locked by the process that uses the folder
//	DIR/CONTEXT-DIGEST  an entry; CONTEXT names the compiler, DIGEST the module that was given to it
//	DIR/*.damaged       an entry that was not what this node had written, the last one of its name
//	DIR/work/           what the runtime reads and writes: copies of entries, for as long as one module is compiled
//
// An entry is machine code, which the runtime runs as it is. So it is used only if its HMAC-SHA-256 under the key holds, over
// everything in it, the compiler and the module. What was checked is what is run: the entry is read once, and the runtime gets
// a copy in work/. An entry is, with integers little endian,
//
//	magic    8   "weircc01"
//	name     64  of the runtime's file: hexadecimal
//	length   8   of the code
//	mac      32
//	code
//
// It helps against disks that rot, entries that were carried here from another machine, version or module, and whoever can
// write to the folder but not read the key, such as a backup that was tampered with. It does not help against those who act as
// this user or as root: they can change the program itself. The folder is refused if others could write to it, or to what it
// is in; so nobody else can act between check and use.
type disk struct {
	root    *os.Root
	path    string
	key     []byte
	context string // the compiler: runtime, its version, architecture, system, Go
	lock    *os.File
	log     *slog.Logger

	mu     sync.Mutex // held while a module is compiled: work/ belongs to one
	shared wazero.CompilationCache
	work   string // of the runtime, below the root
}

const (
	diskMagic    = "weircc01"
	diskNameLen  = 2 * sha256.Size
	diskHeader   = len(diskMagic) + diskNameLen + 8 + sha256.Size
	diskKeyLen   = 32
	maxDiskEntry = 512 << 20
	// Beyond these the entries that were not used for the longest time are removed.
	maxDiskEntries = 128
	maxDiskBytes   = 1 << 30
)

// OpenCache makes a cache that keeps code in a folder, too. The folder is made if it is not there; it must belong to this
// user alone. log hears of entries that are set aside; nil discards.
func OpenCache(dir string, log *slog.Logger) (*Cache, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := NewCache()
	d, err := openDisk(dir, log)
	if err != nil {
		return nil, fmt.Errorf("open the cache of compiled modules %s: %w", dir, err)
	}
	c.disk = d
	return c, nil
}

func openDisk(dir string, log *slog.Logger) (_ *disk, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// Symbolic links are followed once, here: what is checked is what is used.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	d := &disk{path: dir, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.root, err = os.OpenRoot(dir); err != nil {
		return nil, err
	}
	if d.lock, err = lockFolder(d.root); err != nil {
		return nil, err
	}
	if d.key, err = d.readKey(); err != nil {
		return nil, err
	}
	if err := d.root.RemoveAll("work"); err != nil {
		return nil, err
	}
	if err := d.root.Mkdir("work", 0o700); err != nil {
		return nil, err
	}
	if d.shared, err = wazero.NewCompilationCacheWithDir(filepath.Join(dir, "work")); err != nil {
		return nil, err
	}
	// The runtime made a folder named after its version, architecture and system.
	made, err := fs.ReadDir(d.root.FS(), "work")
	if err != nil || len(made) != 1 || !made[0].IsDir() {
		return nil, errors.Join(err, errors.New("the runtime did not make its folder"))
	}
	d.work = "work/" + made[0].Name()
	d.context = made[0].Name() + " " + runtime.Version()
	return d, nil
}

// close removes what is not kept, and unlocks the folder.
func (d *disk) close() error {
	var errs []error
	if d.shared != nil {
		errs = append(errs, d.shared.Close(context.Background()))
	}
	if d.lock != nil {
		errs = append(errs, d.root.RemoveAll("work"), d.lock.Close())
	}
	if d.root != nil {
		errs = append(errs, d.root.Close())
	}
	d.shared, d.lock, d.root = nil, nil, nil
	return errors.Join(errs...)
}

// readKey reads the key, or makes it.
func (d *disk) readKey() ([]byte, error) {
	st, err := d.root.Lstat("key")
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, diskKeyLen)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		return key, d.write("key", key)
	}
	if err != nil {
		return nil, err
	}
	key, err := d.root.ReadFile("key")
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 || !ownedByUs(st):
		return nil, errors.New("the file key must be this user's, with mode 0600: remove it, and all is compiled anew")
	case len(key) != diskKeyLen:
		return nil, fmt.Errorf("the file key has %d bytes, not %d: remove it, and all is compiled anew", len(key), diskKeyLen)
	}
	return key, nil
}

// write makes a file that is there as a whole or not at all.
func (d *disk) write(name string, parts ...[]byte) (err error) {
	temp := name + ".new"
	f, err := d.root.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.root.Remove(temp)
		}
	}()
	for _, p := range parts {
		if err == nil {
			_, err = f.Write(p)
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.root.Rename(temp, name)
}

// fetched is what the disk had to give.
type fetched struct {
	hit     bool
	damaged int64
}

// compile fills an entry of the cache, with the code of the folder where there is some, and otherwise leaves it there. An
// error says that it is to be compiled without the folder.
func (d *disk) compile(ctx context.Context, e *entry, module []byte) (o fetched, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := d.entryName(e.key.digest)
	file, code, err := d.load(name, e.key.digest)
	switch {
	case err == nil:
		err = d.root.WriteFile(d.work+"/"+file, code, 0o600)
	case errors.Is(err, fs.ErrNotExist):
		file, err = "", nil
	default:
		o.damaged = 1
		d.log.Warn("a compiled module on disk is not what this node wrote; it was set aside and is compiled anew",
			"file", filepath.Join(d.path, name), "error", err)
		file, err = "", d.root.Rename(name, name+".damaged")
	}
	defer d.clear()
	if err != nil {
		d.log.Warn("the folder of compiled modules cannot be written to", "folder", d.path, "error", err)
		return o, err
	}
	if err := e.compile(ctx, d.shared, module); err != nil {
		return o, err
	}
	written, err := d.written(file)
	switch {
	case err != nil || written == "":
		d.log.Warn("the code of a module could not be kept on disk", "error", err)
	case written == file:
		o.hit = true
		now := time.Now()
		_ = d.root.Chtimes(name, now, now) // for prune
	default:
		if err := d.store(name, e.key.digest, written); err != nil {
			d.log.Warn("the code of a module could not be kept on disk", "folder", d.path, "error", err)
		}
	}
	return o, nil
}

// entryName is the file of a module's code.
func (d *disk) entryName(digest [sha256.Size]byte) string {
	by := sha256.Sum256([]byte(d.context))
	return hex.EncodeToString(by[:8]) + "-" + hex.EncodeToString(digest[:])
}

// mac is over all that says what the code is. The parts are of fixed length, but for the context, which ends in a zero.
func (d *disk) mac(digest [sha256.Size]byte, header, code []byte) []byte {
	h := hmac.New(sha256.New, d.key)
	h.Write([]byte(d.context + "\x00"))
	h.Write(digest[:])
	h.Write(header)
	h.Write(code)
	return h.Sum(nil)
}

// load reads and checks an entry: the name of the runtime's file, and what is in it.
func (d *disk) load(name string, digest [sha256.Size]byte) (file string, code []byte, err error) {
	st, err := d.root.Lstat(name)
	if err != nil {
		return "", nil, err
	}
	if !st.Mode().IsRegular() || st.Size() < int64(diskHeader) || st.Size() > maxDiskEntry {
		return "", nil, fmt.Errorf("it is not an entry: %s of %d bytes", st.Mode().Type(), st.Size())
	}
	b, err := d.root.ReadFile(name)
	if err != nil {
		return "", nil, fmt.Errorf("read it: %w", hideMissing(err))
	}
	if len(b) < diskHeader || string(b[:len(diskMagic)]) != diskMagic {
		return "", nil, errors.New("it is not an entry")
	}
	signed, mac, code := b[:diskHeader-sha256.Size], b[diskHeader-sha256.Size:diskHeader], b[diskHeader:]
	if !hmac.Equal(mac, d.mac(digest, signed, code)) {
		return "", nil, errors.New("its checksum is wrong")
	}
	// From here on it is what store wrote.
	file = string(signed[len(diskMagic) : len(diskMagic)+diskNameLen])
	if n := binary.LittleEndian.Uint64(signed[len(signed)-8:]); n != uint64(len(code)) || !isHex(file) {
		return "", nil, errors.New("its header is wrong")
	}
	return file, code, nil
}

// hideMissing keeps an entry that vanished while it was read from being taken for one that was never there.
func hideMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("it is gone")
	}
	return err
}

// store makes an entry of what the runtime wrote.
func (d *disk) store(name string, digest [sha256.Size]byte, file string) error {
	code, err := d.root.ReadFile(d.work + "/" + file)
	if err != nil {
		return err
	}
	if len(code)+diskHeader > maxDiskEntry {
		return fmt.Errorf("%d bytes are too many", len(code))
	}
	header := append([]byte(diskMagic), file...)
	header = binary.LittleEndian.AppendUint64(header, uint64(len(code)))
	if err := d.write(name, header, d.mac(digest, header, code), code); err != nil {
		return err
	}
	return d.prune()
}

// written names the file that the runtime has written; if there is none, that is had, the one it was given.
func (d *disk) written(had string) (string, error) {
	files, err := fs.ReadDir(d.root.FS(), d.work)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if f.Name() != had && isHex(f.Name()) {
			return f.Name(), nil
		}
	}
	return had, nil
}

// clear empties the runtime's folder.
func (d *disk) clear() {
	files, _ := fs.ReadDir(d.root.FS(), d.work)
	for _, f := range files {
		_ = d.root.Remove(d.work + "/" + f.Name())
	}
}

// prune removes the entries that were not used for the longest time, where there are too many.
func (d *disk) prune() error {
	files, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return err
	}
	var entries []fs.FileInfo
	for _, f := range files {
		if st, err := f.Info(); err == nil && f.Type().IsRegular() && strings.Contains(f.Name(), "-") {
			entries = append(entries, st)
		}
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	total := int64(0)
	for i, st := range entries {
		if total += st.Size(); i > 0 && (i >= maxDiskEntries || total > maxDiskBytes) {
			if err := d.root.Remove(st.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// isHex tells whether a name is one that the runtime gives its files.
func isHex(name string) bool {
	return len(name) == diskNameLen && len(bytes.Trim([]byte(name), "0123456789abcdef")) == 0
}
