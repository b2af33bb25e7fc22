package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble lists its files in a manifest, a log of edits, and takes an edit that it cannot read for the end, since the last may
// have been cut short by a loss of power. Where one in the middle rots, it goes on with an older list: tables are gone, logs are
// replayed a second time, and later a compaction finds what cannot be and panics. So the seal says how long the manifest is
// known to be.
//
//	manifest number (8)  bytes synced (8)  the same of the manifest before  CRC-32C of all that (4)
//
// It is written after each sync of a manifest and not synced itself: what it says was on the disk before. A seal that cannot be
// read, as a loss of power may leave it, says nothing.
const (
	sealFile = "seal"
	sealSize = 4*8 + 4
)

// seal is the file that says how long manifests are.
type seal struct {
	mu   sync.Mutex
	file vfs.File  // guarded by mu
	at   [2]sealed // guarded by mu: the newest first
}

// sealed is a manifest that was synced.
type sealed struct{ number, bytes uint64 }

func manifestNumber(base string) (uint64, bool) {
	digits, ok := strings.CutPrefix(base, "MANIFEST-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func readSeal(fs vfs.FS, path string) (at [2]sealed) {
	b, err := readFile(fs, path, sealSize)
	if err != nil || len(b) != sealSize || crc32.Checksum(b[:sealSize-4], castagnoli) != binary.BigEndian.Uint32(b[sealSize-4:]) {
		return at
	}
	for i := range at {
		at[i] = sealed{binary.BigEndian.Uint64(b[16*i:]), binary.BigEndian.Uint64(b[16*i+8:])}
	}
	return at
}

// openSeal opens the seal to be written. Without one the store works as well; only rot of its manifest may not be noticed.
func openSeal(cfg *Config, current uint64) *seal {
	path := cfg.FS.PathJoin(cfg.Dir, sealFile)
	s := &seal{at: readSeal(cfg.FS, path)}
	f, err := cfg.FS.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		cfg.Log.Warn("cannot write how long the list of files of the local store is", "file", path, "error", err)
		return s
	}
	s.file = f
	// A manifest that did not become the current one may be gone after a loss of power, and its number be used again.
	for i, m := range s.at {
		if m.number > current {
			s.at[i] = sealed{}
			s.write()
			_ = f.Sync()
		}
	}
	return s
}

// set notes that so many bytes of a manifest are on the disk.
func (s *seal) set(number, bytes uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[0].number != number {
		s.at[1] = s.at[0]
	}
	s.at[0] = sealed{number, bytes}
	s.write()
}

// write writes what is known. s.mu is held, or nobody else has s.
func (s *seal) write() {
	if s.file == nil {
		return
	}
	b := make([]byte, 0, sealSize)
	for _, m := range s.at {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, m.number), m.bytes)
	}
	// A failure is one of the disk, which others report; an old seal is right still.
	_, _ = s.file.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0)
}

func (s *seal) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Sync(), s.file.Close())
}

// sealedFile is a manifest that is being written.
type sealedFile struct {
	vfs.File
	seal            *seal
	number, written uint64
}

// Write implements vfs.File.
func (f *sealedFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.written += uint64(n)
	return n, err
}

// Sync implements vfs.File.
func (f *sealedFile) Sync() error {
	err := f.File.Sync()
	if err == nil {
		f.seal.set(f.number, f.written)
	}
	return err
}

// SyncData implements vfs.File.
func (f *sealedFile) SyncData() error {
	err := f.File.SyncData()
	if err == nil {
		f.seal.set(f.number, f.written)
	}
	return err
}

// checkManifest finds a list of files that Pebble would read in part, and returns the number of the list. It is called before
// the database is opened. Errors that are not ErrDamaged are left to Pebble to find.
func checkManifest(cfg *Config) (number uint64, err error) {
	at, err := pebble.Peek(cfg.Dir, cfg.FS)
	if err != nil {
		return 0, nil
	}
	if !at.Exists {
		names, err := cfg.FS.List(cfg.Dir)
		for _, name := range names {
			if err == nil && isTable(name) {
				return 0, fmt.Errorf("%w: there are tables, and no list of them", ErrDamaged)
			}
		}
		return 0, nil
	}
	number, _ = manifestNumber(cfg.FS.PathBase(at.ManifestFilename))
	f, err := cfg.FS.Open(at.ManifestFilename)
	if err != nil {
		return number, nil
	}
	defer f.Close()
	good := wholeRecords(f)
	for _, m := range readSeal(cfg.FS, cfg.FS.PathJoin(cfg.Dir, sealFile)) {
		if m.number == number && good < int64(m.bytes) {
			return number, fmt.Errorf("%w: %s can be read up to byte %d, and %d were written", ErrDamaged, at.ManifestFilename, good, m.bytes)
		}
	}
	// Each edit is on the disk before the next is written, so one behind what cannot be read was not the last.
	st, err := f.Stat()
	if err != nil || st.Size() <= good {
		return number, nil
	}
	rest := make([]byte, min(st.Size()-good, maxTail))
	if _, err := f.ReadAt(rest, good); err != nil && !errors.Is(err, io.EOF) {
		return number, nil
	}
	if next := nextRecord(rest, int(good%chunkBlock)); next >= 0 {
		return number, fmt.Errorf("%w: %s can be read up to byte %d, and there is more at byte %d", ErrDamaged, at.ManifestFilename, good, good+int64(next))
	}
	return number, nil
}

// maxTail is how much is looked at of what cannot be read at the end of a manifest. Edits have some hundred bytes.
const maxTail = 1 << 20

// wholeRecords is how many bytes of a manifest are records that can be read.
func wholeRecords(f io.Reader) int64 {
	r := record.NewReader(f, 0)
	for good := int64(0); ; good = r.Offset() {
		rec, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if err != nil {
			return good
		}
	}
}

// A manifest is cut into blocks, and its records into chunks that lie within a block. A chunk begins with the masked CRC-32C of its type and
// data (4 bytes, little endian), the length of the data (2), and the type (1), which is 1 for a whole record and 2 for the first
// part of one. The source is record/record.go of Pebble.
const (
	chunkBlock = 32 << 10
	chunkHead  = 4 + 2 + 1
	chunkWhole = 1
	chunkFirst = 2
)

// nextRecord finds where a record begins in what follows a place in a block, or returns -1.
func nextRecord(b []byte, place int) int {
	for at := 0; at+chunkHead < len(b); at++ {
		if kind := b[at+6]; kind != chunkWhole && kind != chunkFirst {
			continue
		}
		end := at + chunkHead + int(binary.LittleEndian.Uint16(b[at+4:]))
		if end > len(b) || end == at+chunkHead || (place+at)/chunkBlock != (place+end-1)/chunkBlock {
			continue
		}
		sum := crc32.Checksum(b[at+6:end], castagnoli)
		if binary.LittleEndian.Uint32(b[at:]) == (sum>>15|sum<<17)+0xa282ead8 {
			return at
		}
	}
	return -1
}

// readFile reads a file, or as much of it as is wanted.
func readFile(fs vfs.FS, path string, most int64) (_ []byte, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, most))
}

// writeFile writes a file anew.
func writeFile(fs vfs.FS, path string, b []byte) (err error) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir has what was made, moved or removed in a directory be on the disk.
func syncDir(fs vfs.FS, path string) error {
	d, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// remove removes a file, if it is there.
func remove(fs vfs.FS, path string) error {
	if err := fs.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
