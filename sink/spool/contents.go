package spool

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Content is what a store has of a lane, for people.
type Content struct {
	ID
	Columns string // of its rows; empty where an older weir saved them
	Meta    []byte // what the engine says of it
	Rows    int64
	Letters int64
	// The first and the last of the windows that rows are of, by their start in milliseconds since 1970; 0 without rows. Of rows that wait in the order
	// in which their windows ended, those of the oldest and the newest are looked at.
	FirstWindow, LastWindow int64
	// Bytes of keys and values, or about the bytes on disk where those are many.
	Bytes int64
}

// countBytes is up to how many bytes on disk a lane's entries are looked at one by one.
const countBytes = 16 << 20

// Contents lists what is stored of every lane, by pipeline, revision, topic and partition. It may be called beside those who use
// the lanes.
func (s *Store) Contents() ([]Content, error) {
	ids, err := s.Lanes()
	if err != nil {
		return nil, err
	}
	var all []Content
	for _, id := range ids {
		c, err := s.content(id)
		if err != nil {
			return nil, err
		}
		if c != nil {
			all = append(all, *c)
		}
	}
	return all, nil
}

// content looks at a lane; nil where it has gone meanwhile.
func (s *Store) content(id ID) (*Content, error) {
	key := func(kind byte) []byte { return id.append([]byte{kind}) }
	stored, err := s.Get(key(keyMeta))
	if err != nil || stored == nil {
		return nil, err
	}
	if len(stored) < metaHead {
		return nil, fmt.Errorf("%w: partition %d of pipeline %s: its account is cut short", ErrDamaged, id.Partition, id.Pipeline)
	}
	columns, err := s.Get(key(keyColumns))
	if err != nil {
		return nil, err
	}
	entries, oldest, next := binary.BigEndian.Uint64(stored[8:])&^hashed, binary.BigEndian.Uint64(stored[16:]), binary.BigEndian.Uint64(stored[24:])
	c := &Content{ID: id, Columns: string(columns), Meta: stored[metaHead:], Letters: int64(next - oldest)}
	states := int64(0)
	if err := s.Scan(key(keyState), nil, func(key, value []byte) bool {
		states++
		c.Bytes += int64(len(key) + len(value))
		return true
	}); err != nil {
		return nil, err
	}
	c.Rows = int64(entries) - c.Letters - states
	if err := s.windows(c, key(keyGroup), 0); err != nil {
		return nil, err
	}
	if err := s.windows(c, key(keyQueue), 8); err != nil {
		return nil, err
	}
	for _, kind := range []byte{keyGroup, keyLetter, keyQueue} {
		prefix := key(kind)
		onDisk, err := s.db.EstimateDiskUsage(prefix, after(prefix))
		if err != nil {
			return nil, readError(err)
		}
		if onDisk > countBytes {
			c.Bytes += int64(onDisk)
			continue
		}
		if err := s.Scan(prefix, nil, func(key, value []byte) bool {
			c.Bytes += int64(len(key) + len(value))
			return true
		}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// windows widens what a content says of windows by the first and the last of the rows under a prefix, whose keys go on with the window's start
// so many bytes behind it.
func (s *Store) windows(c *Content, prefix []byte, at int) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return readError(err)
	}
	known := c.FirstWindow != 0 || c.LastWindow != 0
	for _, move := range []func() bool{it.First, it.Last} {
		if !move() || len(it.Key()) < len(prefix)+at+8 {
			continue
		}
		start := int64(binary.BigEndian.Uint64(it.Key()[len(prefix)+at:]) ^ 1<<63)
		if !known {
			c.FirstWindow, c.LastWindow, known = start, start, true
		}
		c.FirstWindow, c.LastWindow = min(c.FirstWindow, start), max(c.LastWindow, start)
	}
	return readError(it.Close())
}

// Drop removes everything of a lane that nobody uses.
func (s *Store) Drop(id ID) error { return (&Lane{s: s, id: id}).Clear() }
