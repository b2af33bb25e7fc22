package clickhouse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ClickHouse/ch-go/proto"
)

// A block on the wire has no length of its own: where a column ends follows from its type and its bytes alone. A walker
// copies a block while it finds those ends. It converts between the two layouts in use:
//
//	FORMAT Native (what the engine reads and writes):  columns rows { name type data }*
//	native protocol, revision >= 51903:                block info before the columns
//	native protocol, revision >= 54454:                also one byte `has custom serialization` after each type
type walker struct {
	in    *input
	out   []byte
	limit int // of out, in bytes
}

const (
	maxColumns    = 10_000
	maxColumnName = 64 << 10
	maxBlockRows  = 1 << 32
)

// blockHead is what a block is about.
type blockHead struct {
	columns []columnHead
	rows    int
}

type columnHead struct{ name, typ string }

// layout names one of the layouts above.
type layout struct{ info, custom bool }

var nativeFormat = layout{}

func layoutOf(revision int) layout {
	return layout{info: proto.FeatureBlockInfo.In(revision), custom: proto.FeatureCustomSerialization.In(revision)}
}

// walk reads one block in layout from and appends it to w.out in layout to.
func (w *walker) walk(from, to layout) (blockHead, error) {
	var h blockHead
	if from.info {
		if err := w.readInfo(); err != nil {
			return h, err
		}
	}
	columns, err := w.in.uvarint()
	if err != nil {
		return h, err // a plain io.EOF here means: no further block
	}
	rows, err := w.in.uvarint()
	if err != nil {
		return h, unexpected(err)
	}
	if columns > maxColumns || rows > maxBlockRows {
		return h, exceptionf(codeIncorrectData, "a block of %d columns and %d rows", columns, rows)
	}
	if to.info {
		w.out = appendBlockInfo(w.out)
	}
	w.out = binary.AppendUvarint(w.out, columns)
	w.out = binary.AppendUvarint(w.out, rows)
	h.rows = int(rows)
	for i := range int(columns) {
		c, err := w.column(h.rows, from, to)
		if err != nil {
			var e *exception
			if errors.As(err, &e) {
				return h, err
			}
			return h, fmt.Errorf("column %d %q: %w", i, clip(c.name, 60), unexpected(err))
		}
		h.columns = append(h.columns, c)
	}
	return h, nil
}

func (w *walker) column(rows int, from, to layout) (c columnHead, err error) {
	if c.name, err = w.in.text(maxColumnName); err != nil {
		return c, err
	}
	if c.typ, err = w.in.text(maxTypeText); err != nil {
		return c, err
	}
	w.out = appendText(w.out, c.name)
	w.out = appendText(w.out, c.typ)
	if from.custom {
		custom, err := w.in.byte()
		if err != nil {
			return c, err
		}
		if custom != 0 {
			return c, exceptionf(codeUnsupportedMethod, "column %q comes in a custom serialization, which the embedded server does not read", clip(c.name, 60))
		}
	}
	if to.custom {
		w.out = append(w.out, 0)
	}
	if rows == 0 {
		return c, nil
	}
	s, err := parseShape(c.typ)
	if err != nil {
		return c, err
	}
	p := &prefix{}
	if err := w.prefix(s, p); err != nil {
		return c, err
	}
	p.rewind()
	return c, w.data(s, rows, p)
}

// readInfo skips the block info: numbered fields up to a zero.
func (w *walker) readInfo() error {
	for {
		field, err := w.in.uvarint()
		if err != nil {
			return unexpected(err)
		}
		switch field {
		case 0:
			return nil
		case 1: // is_overflows
			_, err = w.in.byte()
		case 2: // bucket_num
			var p [4]byte
			err = w.in.full(p[:])
		default:
			return exceptionf(codeIncorrectData, "a block info with field %d", field)
		}
		if err != nil {
			return unexpected(err)
		}
	}
}

// appendBlockInfo writes: field 1 (is_overflows) = 0, field 2 (bucket_num) = -1, end.
func appendBlockInfo(b []byte) []byte { return append(b, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0) }

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendEmptyBlock writes a block without rows: a header when there are columns, an end mark when there are none.
func appendEmptyBlock(b []byte, columns []columnHead, to layout) []byte {
	if to.info {
		b = appendBlockInfo(b)
	}
	b = binary.AppendUvarint(b, uint64(len(columns)))
	b = binary.AppendUvarint(b, 0)
	for _, c := range columns {
		b = appendText(b, c.name)
		b = appendText(b, c.typ)
		if to.custom {
			b = append(b, 0)
		}
	}
	return b
}

// room fails when n more bytes would make the block too large.
func (w *walker) room(n int) error {
	if n < 0 || n > w.limit-len(w.out) {
		return exceptionf(codeTooLargeBlock, "the block is larger than %d bytes; send fewer rows a block", w.limit)
	}
	return nil
}

// copyN copies n bytes.
func (w *walker) copyN(n int) error {
	if err := w.room(n); err != nil {
		return err
	}
	for n > 0 {
		if w.in.pos == w.in.end {
			if err := w.in.fill(); err != nil {
				return unexpected(err)
			}
		}
		k := min(n, w.in.end-w.in.pos)
		w.out = append(w.out, w.in.buf[w.in.pos:w.in.pos+k]...)
		w.in.pos += k
		n -= k
	}
	return nil
}

// copyItems copies count values of width bytes.
func (w *walker) copyItems(count, width int) error {
	if width > 0 && count > (w.limit-len(w.out))/width {
		return w.room(-1)
	}
	return w.copyN(count * width)
}

func (w *walker) copyUint64() (uint64, error) {
	at := len(w.out)
	if err := w.copyN(8); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(w.out[at:]), nil
}

func (w *walker) copyUvarint() (uint64, error) {
	v, err := w.in.uvarint()
	if err != nil {
		return 0, unexpected(err)
	}
	w.out = binary.AppendUvarint(w.out, v)
	return v, w.room(0)
}

// copyCount copies a varint that counts things of at least least bytes each.
func (w *walker) copyCount(least int) (int, error) {
	v, err := w.copyUvarint()
	if err != nil {
		return 0, err
	}
	return w.count(v, least)
}

func (w *walker) count(v uint64, least int) (int, error) {
	if least > 0 && v > uint64(w.limit-len(w.out))/uint64(least) {
		return 0, w.room(-1)
	}
	if v > maxBlockRows {
		return 0, w.room(-1)
	}
	return int(v), nil
}

// copyStrings copies count strings. Its inner loop runs over what is buffered without leaving the slice.
func (w *walker) copyStrings(count int) error {
	in := w.in
	for count > 0 {
		from, p := in.pos, in.pos
		for count > 0 && p < in.end {
			n, k := binary.Uvarint(in.buf[p:in.end])
			if k <= 0 || n > uint64(in.end-p-k) || k > 1 && in.buf[p+k-1] == 0 { // the last: a length with idle bytes
				break
			}
			p += k + int(n)
			count--
		}
		if p > from {
			if err := w.room(p - from); err != nil {
				return err
			}
			w.out = append(w.out, in.buf[from:p]...)
			in.pos = p
			continue
		}
		// The next string is not whole in the buffer, or its length is written the long way: take it the slow way, which
		// writes it anew.
		n, err := w.copyCount(1)
		if err != nil {
			return err
		}
		if err := w.copyN(n); err != nil {
			return err
		}
		count--
	}
	return nil
}

// eachBlock walks the whole Native blocks in chunk and hands each to emit in layout to. The bytes given to emit are
// reused after it returns.
func eachBlock(chunk []byte, to layout, scratch *[]byte, emit func(h blockHead, block []byte) error) error {
	w := walker{in: sliceInput(chunk), out: *scratch, limit: 1<<62 - 1}
	defer func() { *scratch = w.out[:0] }()
	for {
		w.out = w.out[:0]
		h, err := w.walk(nativeFormat, to)
		if errors.Is(err, io.EOF) && w.in.buffered() == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("walk a block of the engine: %w", err)
		}
		if err := emit(h, w.out); err != nil {
			return err
		}
	}
}
