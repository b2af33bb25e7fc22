package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

var _ sink.Local = (*Lane)(nil)

// The first columns of the rows of a cut, see [sink.Table]: window_start, window_end, _rows. Keys and states follow.
const (
	colStart = 0
	colKeys  = 3
)

// Lane is what the store keeps of one partition: what the engine says of it, its groups, its dead letters. One goroutine uses
// it at a time.
//
// The database can lose the middle of what was written where a file that lists its files rots. So a lane has an account of its
// entries: how many there are, and the sum of the hashes of its rows and of the checksums of the others, kept with what the engine
// says of it, and Load compares. Whoever changes rows knows the hashes of those that go, so that none is looked up for the account.
type Lane struct {
	s      *Store
	id     ID
	schema *batch.Schema
	keys   int // columns of the key

	sum     uint64 // see hashed
	entries uint64
	letters uint64 // number of the next dead letter
	oldest  uint64 // number of the first that is there
	queue   queue  // rows that wait behind the groups
	named   bool   // what columns it has is stored

	granted bool // Room has promised that the next change finds room

	// Not stored: the groups among the entries, and about how many bytes they have.
	rows  int64
	bytes int64
}

// metaHead is sum, entries, oldest and next letter, before what the engine says.
const metaHead = 4 * 8

// hashed is a bit of the number of entries in a head: the sum is of the hashes of rows and of what entry gives for all else. Without it,
// as in the first format, it is of entry for all.
const hashed = 1 << 63

// Lane opens the lane of an ID; its rows have the schema of a cut of the table.
func (s *Store) Lane(id ID, t *sink.Table) *Lane {
	return &Lane{s: s, id: id, schema: t.Schema(), keys: len(t.Keys)}
}

func (l *Lane) key(kind byte) []byte { return l.id.append([]byte{kind}) }

// Change is what happens to a lane at once.
type Change struct {
	l   *Lane
	b   *Batch
	sum uint64
	n   uint64
	old uint64 // oldest letter
	new uint64 // next letter
	queue
	err error

	rows, bytes int64       // as in Lane
	gone        int64       // about how many bytes of entries are dropped
	ranges      [][2][]byte // between which keys those of DropWindows are, and much of the queue
}

// Change implements sink.Local. Until it is committed the lane is as it was.
func (l *Lane) Change() sink.LocalChange { return l.change() }

func (l *Lane) change() *Change {
	b := l.s.Batch()
	b.granted, l.granted = l.granted, false
	return &Change{l: l, b: b, sum: l.sum, n: l.entries, old: l.oldest, new: l.letters, queue: l.queue, rows: l.rows, bytes: l.bytes}
}

// entry is what an entry that is not a row adds to the sum of its lane.
func entry(key, value []byte) uint64 { return entryOf(checksum(key, value)) }

func entryOf(checksum uint32) uint64 { return uint64(checksum)<<1 | 1 }

func (c *Change) remove(key []byte) {
	v, err := c.l.s.Get(key)
	if err != nil {
		c.err = errors.Join(c.err, err)
	} else if v != nil {
		c.sum -= entry(key, v)
		c.n--
	}
}

func (c *Change) set(key, value []byte) {
	c.b.Set(key, value)
	c.sum += entry(key, value)
	c.n++
}

// Put implements sink.LocalChange.
func (c *Change) Put(rows *batch.Batch, hashes, before []uint64) {
	l := c.l
	fields := l.schema.Fields
	var value []byte
	// In the order of keys, as the database keeps them.
	for _, k := range l.keysOf(rows) {
		value = appendRow(value[:0], fields[colStart+1:colKeys], rows.Cols[colStart+1:], k.row)
		value = appendRow(value, fields[colKeys+l.keys:], rows.Cols[colKeys+l.keys:], k.row)
		c.b.Set(k.key, value)
		if before == nil || l.rows == 0 || before[k.row] == 0 {
			c.n++
			c.rows++
			c.bytes += int64(len(k.key) + len(value))
		} else {
			c.sum -= before[k.row]
		}
		c.sum += hashes[k.row]
	}
}

// rowKey is the key of a row of a batch.
type rowKey struct {
	key []byte
	row int
}

// keysOf makes the keys of rows, and sorts them.
func (l *Lane) keysOf(rows *batch.Batch) []rowKey {
	starts := batch.As[int64](rows.Cols[colStart].Values)
	prefix, fields := l.key(keyGroup), l.schema.Fields[colKeys:colKeys+l.keys]
	keys := make([]rowKey, rows.Rows)
	var buf []byte
	for i := range keys {
		if cap(buf)-len(buf) < 1<<10 {
			buf = make([]byte, 0, 64<<10) // the keys in the one before stay where they are
		}
		from := len(buf)
		buf = binary.BigEndian.AppendUint64(append(buf, prefix...), signed(starts[i]))
		buf = appendRow(buf, fields, rows.Cols[colKeys:], i)
		keys[i] = rowKey{buf[from:len(buf):len(buf)], i}
	}
	slices.SortFunc(keys, func(a, b rowKey) int { return bytes.Compare(a.key, b.key) })
	return keys
}

// DropWindow implements sink.LocalChange.
func (c *Change) DropWindow(start int64, of sink.Sum) {
	if c.drop(of) {
		c.b.DeleteAll(binary.BigEndian.AppendUint64(c.l.key(keyGroup), signed(start)))
	}
}

// DropWindows implements sink.LocalChange. One range of keys is deleted, so that whole files of the database go.
func (c *Change) DropWindows(from, to int64, of sink.Sum) {
	if !c.drop(of) {
		return
	}
	prefix := c.l.key(keyGroup)
	lower := binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], signed(from))
	upper := binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], signed(to))
	c.b.DeleteRange(lower, upper)
	c.ranges = append(c.ranges, [2][]byte{lower, upper})
}

// drop takes rows out of the account, and tells whether there are any.
func (c *Change) drop(of sink.Sum) bool {
	if of.Rows == 0 {
		return false
	}
	c.sum -= of.Hash
	c.n -= uint64(of.Rows)
	bytes := c.bytes / max(1, c.rows) * int64(of.Rows)
	c.gone += bytes
	c.rows, c.bytes = c.rows-int64(of.Rows), c.bytes-bytes
	return true
}

// PutState implements sink.LocalChange.
func (c *Change) PutState(step string, state []byte) {
	key := append(c.l.key(keyState), step...)
	c.remove(key)
	c.set(key, state)
}

func (c *Change) letterKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64(c.l.key(keyLetter), n)
}

// PutLetters implements sink.LocalChange.
func (c *Change) PutLetters(letters []sink.DeadLetter) {
	var value []byte
	for i := range letters {
		value = appendLetter(value[:0], &letters[i])
		c.set(c.letterKey(c.new), value)
		c.new++
	}
}

// DropLetters implements sink.LocalChange.
func (c *Change) DropLetters(n int) {
	end := min(c.old+uint64(max(n, 0)), c.new)
	if c.old >= end {
		return
	}
	const few = 16
	if end-c.old <= few {
		for ; c.old < end; c.old++ {
			key := c.letterKey(c.old)
			c.remove(key)
			c.b.Delete(key)
			c.gone += int64(len(key))
		}
		return
	}
	// In one pass, and not by a lookup for each: that costs more than all the rest of a change.
	upper := c.letterKey(end)
	err := c.l.s.scan(c.l.key(keyLetter), c.letterKey(c.old), func(key, _ []byte, check uint32) bool {
		if string(key) >= string(upper) {
			return false
		}
		c.sum -= entryOf(check)
		c.n--
		c.b.Delete(key)
		c.gone += int64(len(key))
		return true
	})
	c.err = errors.Join(c.err, err)
	c.old = end
}

// Commit implements sink.LocalChange.
func (c *Change) Commit(meta []byte) error {
	if c.err != nil {
		c.Discard()
		return c.err
	}
	head := make([]byte, 0, metaHead+len(meta))
	for _, v := range [...]uint64{c.sum, c.n | hashed, c.old, c.new} {
		head = binary.BigEndian.AppendUint64(head, v)
	}
	c.b.Set(c.l.key(keyMeta), append(head, meta...))
	if !c.l.named {
		c.b.Set(c.l.key(keyColumns), []byte(c.l.schema.String()))
	}
	c.b.granted = c.b.granted || c.gone > c.b.put // what removes more makes room
	if err := c.b.Commit(); err != nil {
		return err
	}
	for _, r := range c.ranges {
		c.l.s.reclaim(r[0], r[1])
	}
	c.l.sum, c.l.entries, c.l.oldest, c.l.letters, c.l.named = c.sum, c.n, c.old, c.new, true
	c.l.rows, c.l.bytes, c.l.queue = c.rows, c.bytes, c.queue
	return nil
}

// Discard implements sink.LocalChange.
func (c *Change) Discard() { c.b.Discard() }

// loadRows is how many rows Load gives at a time: what they take stays in the processor's caches.
const loadRows = 4096

// Load implements sink.Local.
func (l *Lane) Load(rows func(meta []byte, rows *batch.Batch, hashes []uint64) error) (meta []byte, err error) {
	stored, err := l.s.Get(l.key(keyMeta))
	if err != nil || stored == nil {
		return nil, err
	}
	if len(stored) < metaHead {
		return nil, fmt.Errorf("%w: partition %d of pipeline %s: its account is cut short", ErrDamaged, l.id.Partition, l.id.Pipeline)
	}
	columns, err := l.s.Get(l.key(keyColumns))
	if err != nil {
		return nil, err
	}
	// A revision of other columns would take them for its own, where they are of the same types.
	if have := l.schema.String(); columns != nil && string(columns) != have {
		return nil, fmt.Errorf("partition %d of pipeline %s: revision %016x was saved with the columns (%s), and they are (%s) now",
			l.id.Partition, l.id.Pipeline, l.id.Revision, columns, have)
	}
	var head [4]uint64
	for i := range head {
		head[i] = binary.BigEndian.Uint64(stored[8*i:])
	}
	have, err := l.check(int(min(head[1]&^hashed, loadRows)), func(b *batch.Batch, hashes []uint64) error {
		if rows == nil {
			return nil
		}
		return rows(stored[metaHead:], b, hashes)
	})
	if err != nil {
		return nil, err
	}
	want, sum := head[1]&^hashed, have.sum
	if head[1]&hashed == 0 {
		sum = have.checks
	}
	if sum != head[0] || have.entries != want {
		return nil, fmt.Errorf("%w: partition %d of pipeline %s: %d entries are there, and %d were written, or others", ErrDamaged, l.id.Partition, l.id.Pipeline, have.entries, want)
	}
	l.sum, l.entries, l.oldest, l.letters, l.named = have.sum, have.entries, head[2], head[3], columns != nil
	l.rows, l.bytes, l.queue = have.rows, have.bytes, have.queue
	return stored[metaHead:], nil
}

// account is what there is of a lane.
type account struct {
	entries uint64
	sum     uint64 // see hashed
	checks  uint64 // the same in the first format
	rows    int64
	bytes   int64 // of rows
	queue   queue
}

// check reads all entries, and gives the rows among them. expect is for how many rows there is to be room at once.
func (l *Lane) check(expect int, rows func(*batch.Batch, []uint64) error) (a account, err error) {
	reader := newRowsReader(l.schema.Fields)
	reader.reserve(expect)
	hashes := make([]uint64, loadRows)
	var buf []byte
	give := func() error {
		if reader.rows == 0 {
			return nil
		}
		b := reader.borrow(l.schema)
		buf = batch.HashRows(hashes, b, buf)
		for _, h := range hashes[:b.Rows] {
			a.sum += h
		}
		a.rows += int64(b.Rows)
		err := rows(b, hashes[:b.Rows])
		reader.reset()
		return err
	}
	for _, kind := range []byte{keyGroup, keyLetter, keyState, keyQueue} {
		prefix := l.key(kind)
		var failed error
		err := l.s.scan(prefix, nil, func(key, value []byte, check uint32) bool {
			a.checks += entryOf(check)
			a.entries++
			if kind != keyGroup {
				a.sum += entryOf(check)
				if kind == keyQueue {
					failed = a.queue.take(key[len(prefix):])
				}
				return failed == nil
			}
			a.bytes += int64(len(key) + len(value))
			if failed = reader.group(key[len(prefix):], value, l.keys); failed == nil && reader.rows == loadRows {
				failed = give()
			}
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		if err == nil && kind == keyGroup {
			err = give()
		}
		if err != nil {
			return account{}, err
		}
	}
	return a, nil
}

// Room implements sink.Local. The change that is begun next is not refused for want of room: whoever asked has let go of what
// it saves. It goes to what is left beside the ballast, or in its place.
func (l *Lane) Room() error {
	err := l.s.room(0)
	l.granted = err == nil
	return err
}

// Settling implements sink.Local.
func (l *Lane) Settling() bool { return l.s.settling() }

// Entries implements sink.Local.
func (l *Lane) Entries() int { return int(l.entries) }

// Clear implements sink.Local.
func (l *Lane) Clear() error {
	b := l.s.Batch()
	for _, kind := range []byte{keyColumns, keyMeta, keyGroup, keyLetter, keyState, keyQueue} {
		b.DeleteAll(l.key(kind))
	}
	l.sum, l.entries, l.oldest, l.letters, l.named = 0, 0, 0, 0, false
	l.rows, l.bytes, l.queue = 0, 0, queue{}
	return b.Commit()
}

// Only implements sink.Local.
func (l *Lane) Only() error {
	ids, err := l.s.Lanes()
	if err != nil {
		return err
	}
	for _, id := range ids {
		same := id
		if same.Revision = l.id.Revision; same == l.id && id != l.id {
			err = errors.Join(err, (&Lane{s: l.s, id: id}).Clear())
		}
	}
	return err
}

// SetAside implements sink.Local: the whole store is copied beside it, by links to its files.
func (l *Lane) SetAside() error {
	if err := l.s.setAside(); err != nil {
		return err
	}
	return l.Clear()
}

// Lanes lists every lane that is stored.
func (s *Store) Lanes() ([]ID, error) {
	var ids []ID
	var failed error
	err := s.Scan([]byte{keyMeta}, nil, func(key, _ []byte) bool {
		var id ID
		if id, _, failed = readID(key[1:]); failed == nil {
			ids = append(ids, id)
		}
		return failed == nil
	})
	return ids, errors.Join(err, failed)
}
