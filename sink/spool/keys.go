package spool

import (
	"encoding/binary"
	"fmt"
)

// The first byte of a key says what it is of.
const (
	keyColumns = 'c'
	keyFormat  = 'f'
	keyMeta    = 'm'
	keyGroup   = 'g'
	keyLetter  = 'l'
	keyState   = 's'
	keyQueue   = 'q'
)

// ID names a lane: a partition under a revision of a pipeline.
type ID struct {
	Pipeline  string // has no zero byte
	Revision  uint64
	TopicID   [16]byte
	Partition int32
}

const laneTail = 8 + 16 + 4

// append writes the lane part of a key.
func (id *ID) append(to []byte) []byte {
	to = append(append(to, id.Pipeline...), 0)
	to = binary.BigEndian.AppendUint64(to, id.Revision)
	to = append(to, id.TopicID[:]...)
	return binary.BigEndian.AppendUint32(to, uint32(id.Partition))
}

// readID reads the lane part of a key and returns what follows it.
func readID(b []byte) (id ID, rest []byte, err error) {
	for i, c := range b {
		if c != 0 {
			continue
		}
		if len(b) < i+1+laneTail {
			break
		}
		id.Pipeline = string(b[:i])
		b = b[i+1:]
		id.Revision = binary.BigEndian.Uint64(b)
		copy(id.TopicID[:], b[8:])
		id.Partition = int32(binary.BigEndian.Uint32(b[24:]))
		return id, b[laneTail:], nil
	}
	return id, nil, fmt.Errorf("%w: a key without a lane: %x", ErrDamaged, b)
}

// signed makes a signed number sort as bytes.
func signed(v int64) uint64 { return uint64(v) ^ 1<<63 }
