package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/weir-stream/weir/ingest/batch"
)

// queue is which rows wait behind the groups of a lane: those with the numbers from oldest on and before next. Nothing takes their place any
// more. The numbers are not stored: they begin anew where nothing waits.
type queue struct{ oldest, next uint64 }

// queueKey is the beginning of the key of the row with a number: its window and key follow.
func (l *Lane) queueKey(n uint64) []byte {
	return binary.BigEndian.AppendUint64(l.key(keyQueue), n)
}

// take notes the number of a row that is found, in the order of numbers; key is behind the lane.
func (q *queue) take(key []byte) error {
	if len(key) < 8 {
		return fmt.Errorf("%w: a row that waits has no number", ErrDamaged)
	}
	n := binary.BigEndian.Uint64(key)
	if q.next == 0 {
		q.oldest, q.next = n, n
	}
	if n != q.next {
		return fmt.Errorf("%w: of the rows that wait, number %d is missing", ErrDamaged, q.next)
	}
	q.next++
	return nil
}

// Queue implements sink.LocalChange.
func (c *Change) Queue(rows *batch.Batch, from int) {
	l := c.l
	fields := l.schema.Fields
	var key, value []byte
	starts := batch.As[int64](rows.Cols[colStart].Values)
	for i := from; i < rows.Rows; i++ {
		key = append(key[:0], l.queueKey(c.queue.next)...)
		key = binary.BigEndian.AppendUint64(key, signed(starts[i]))
		key = appendRow(key, fields[colKeys:colKeys+l.keys], rows.Cols[colKeys:], i)
		value = appendRow(value[:0], fields[colStart+1:colKeys], rows.Cols[colStart+1:], i)
		value = appendRow(value, fields[colKeys+l.keys:], rows.Cols[colKeys+l.keys:], i)
		c.set(key, value)
		c.queue.next++
	}
}

// reclaimAbove is from how many bytes of rows on that are dropped from a queue their disk is given back at once.
const reclaimAbove = 4 << 20

// DropQueued implements sink.LocalChange. What goes is read once, for the account, and then one range of keys is deleted.
func (c *Change) DropQueued(n int) {
	end := min(c.queue.oldest+uint64(max(n, 0)), c.l.queue.next)
	if c.queue.oldest >= end {
		return
	}
	before := c.gone
	lower, upper := c.l.queueKey(c.queue.oldest), c.l.queueKey(end)
	err := c.l.s.scan(c.l.key(keyQueue), lower, func(key, value []byte, check uint32) bool {
		if bytes.Compare(key, upper) >= 0 {
			return false
		}
		c.sum -= entryOf(check)
		c.n--
		c.gone += int64(len(key) + len(value))
		return true
	})
	if err != nil && c.err == nil {
		c.err = err
	}
	c.b.DeleteRange(lower, upper)
	if c.gone-before >= reclaimAbove {
		c.ranges = append(c.ranges, [2][]byte{lower, upper})
	}
	c.queue.oldest = end
}

// DropRows implements sink.LocalChange.
func (c *Change) DropRows(rows *batch.Batch, hashes []uint64) {
	if rows == nil || c.l.rows == 0 {
		return
	}
	size := c.bytes / max(1, c.rows)
	for _, k := range c.l.keysOf(rows) {
		c.b.Delete(k.key)
		c.sum -= hashes[k.row]
		c.n--
		c.rows--
		c.bytes -= size
		c.gone += size
	}
}
