package clickhouse

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/weir-stream/weir/ingest/batch"
)

// token makes the deduplication token of an insert: a hash of what is inserted, identity and version included. The
// server then skips an insert that it has already stored, which saves a part on a retry.
//
// It covers the content, because a server drops an insert with a known token without looking at its rows. And it is a
// cryptographic hash, because a producer chooses keys and values, and two blocks of one token would be data loss.
type token struct {
	h   hash.Hash
	buf [8]byte
}

func newToken(table string) *token {
	t := &token{h: sha256.New()}
	t.text("weir/1")
	t.text(table)
	return t
}

func (t *token) bytes(b []byte) {
	t.uint(uint64(len(b)))
	t.h.Write(b)
}

func (t *token) text(s string) { t.bytes([]byte(s)) }

func (t *token) uint(v uint64) {
	binary.LittleEndian.PutUint64(t.buf[:], v)
	t.h.Write(t.buf[:])
}

// column adds the first n values of a column.
func (t *token) column(f batch.Field, c *batch.Column, n int) {
	t.uint(uint64(n))
	if n == 0 {
		return
	}
	if c.Nulls > 0 {
		t.bytes(c.Validity[:batch.BitmapLen(n)])
	} else {
		t.uint(0)
	}
	switch {
	case f.Type.Variable():
		t.bytes(c.Offsets[:(n+1)*4])
		off := batch.As[int32](c.Offsets)
		t.bytes(c.Values[off[0]:off[n]])
	case f.Type.Kind == batch.Bool:
		t.bytes(c.Values[:batch.BitmapLen(n)])
	default:
		t.bytes(c.Values[:n*f.Type.Width()])
	}
}

// source adds where rows come from and their version.
func (t *token) source(site, pipeline string, p batch.Partition, rev, segment uint64, version int64) {
	t.text(site)
	t.text(pipeline)
	t.uint(rev)
	t.text(p.Topic)
	t.h.Write(p.TopicID[:])
	t.uint(uint64(uint32(p.ID)))
	t.uint(segment)
	t.uint(uint64(version))
}

func (t *token) String() string { return hex.EncodeToString(t.h.Sum(nil)[:16]) }
