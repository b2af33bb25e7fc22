package window

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// The state of a numbering. Numbers are variable length integers of 7 bits a byte, as of encoding/binary:
//
//	1                                the version, a byte
//	where the stream may have jumped to, how many rows said so
//	the number of the next window
//	how many windows follow, in the order of their numbers; of each
//	    how much its number is above that of the one before
//	    its start, in milliseconds since 1970
//	    how many rows it has
//	    the length of its key
//	    the key: for each column a byte that is 0 for null and 1 otherwise, then, of a text, its length and its bytes, and of others
//	    their bits in 8 bytes, or of a decimal of more than 18 digits in 16, the lowest first
const numbersVersion = 1

// Snapshot implements operators.Stateful. A numbering that has had no row has no bytes.
func (o *numberer) Snapshot(dst []byte) ([]byte, error) {
	o.forgetOver()
	if o.next == 1 && o.clock.JumpN == 0 {
		return dst, nil
	}
	windows := make([]uint32, 0, o.open.n)
	for at := range o.of {
		if o.of[at].number != 0 {
			windows = append(windows, uint32(at))
		}
	}
	slices.SortFunc(windows, func(a, b uint32) int { return cmp.Compare(o.of[a].number, o.of[b].number) })
	dst = append(dst, numbersVersion)
	dst = binary.AppendVarint(dst, o.clock.Jump)
	dst = binary.AppendVarint(dst, o.clock.JumpN)
	dst = binary.AppendUvarint(dst, o.next)
	dst = binary.AppendUvarint(dst, uint64(len(windows)))
	before := uint64(0)
	for _, at := range windows {
		w := &o.of[at]
		dst = binary.AppendUvarint(dst, w.number-before)
		dst = binary.AppendVarint(dst, w.start/1000)
		dst = binary.AppendUvarint(dst, w.rows)
		dst = binary.AppendUvarint(dst, uint64(len(w.key)))
		dst = append(dst, w.key...)
		before = w.number
	}
	return dst, nil
}

// Restore implements operators.Stateful.
func (o *numberer) Restore(_ context.Context, state []byte) error {
	o.clear()
	if len(state) == 0 {
		return nil
	}
	r := numbersReader{rest: state}
	if v := r.byte(); v != numbersVersion {
		return fmt.Errorf("the numbers of count windows were stored by another version of weir (format %d, this one knows %d)", v, numbersVersion)
	}
	o.clock.Jump, o.clock.JumpN = r.signed(), r.signed()
	o.next = r.unsigned()
	n, number := r.unsigned(), uint64(0)
	for ; n > 0 && !r.bad; n-- {
		above, start, rows, key := r.unsigned(), r.signed(), r.unsigned(), r.bytes()
		if number += above; above == 0 || number < above || number >= o.next || rows == 0 || rows >= o.cfg.Count.Rows ||
			start < minTime/1000-1 || start > maxTime/1000 || !o.isKey(key) {
			r.bad = true
			break
		}
		tag := o.tagOf(key)
		if _, twice := o.find(key, tag); twice {
			r.bad = true
			break
		}
		w := &o.of[o.add(key, tag)]
		w.number, w.start, w.rows = number, start*1000, rows
	}
	if r.bad || len(r.rest) > 0 || o.next == 0 || o.clock.JumpN < 0 || o.clock.JumpN >= corroboration {
		o.clear()
		return errNumbers
	}
	o.sweep = min(max(o.sweep, 2*o.bytes), o.max)
	return nil
}

// isKey tells whether bytes are a key of the columns there are.
func (o *numberer) isKey(key []byte) bool {
	r := numbersReader{rest: key}
	for _, col := range o.cfg.Keys {
		switch r.byte() {
		case 0:
			r.bad = r.bad || !o.cfg.In.Fields[col].Nullable
		case 1:
			switch t := o.cfg.In.Fields[col].Type; {
			case t.Variable():
				r.bytes()
			case wide(t):
				r.take(16)
			default:
				r.take(8)
			}
		default:
			r.bad = true
		}
	}
	return !r.bad && len(r.rest) == 0
}

// numbersReader reads what Snapshot wrote. Once it is bad it stays so.
type numbersReader struct {
	rest []byte
	bad  bool
}

func (r *numbersReader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *numbersReader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return math.MaxUint8
}

func (r *numbersReader) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || r.bad {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *numbersReader) signed() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 || r.bad {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *numbersReader) bytes() []byte { return r.take(r.unsigned()) }
