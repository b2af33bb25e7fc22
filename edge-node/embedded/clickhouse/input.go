package clickhouse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// input reads the primitive values of ClickHouse's binary formats, either from a connection or from a slice. Every read
// of a length is bounded by its caller: a hostile client decides what the bytes say, never how much is allocated.
type input struct {
	src      io.Reader // nil when buf is all there is
	buf      []byte
	pos, end int
}

const inputBuffer = 64 << 10

func newInput(src io.Reader) *input { return &input{src: src, buf: make([]byte, inputBuffer)} }

// sliceInput reads b, which must not change meanwhile.
func sliceInput(b []byte) *input { return &input{buf: b, end: len(b)} }

// buffered is how many bytes can be read without touching the source.
func (in *input) buffered() int { return in.end - in.pos }

// fill reads at least one more byte from the source. Unread bytes move to the front of the buffer.
func (in *input) fill() error {
	if in.src == nil {
		return io.EOF
	}
	if in.pos > 0 {
		copy(in.buf, in.buf[in.pos:in.end])
		in.end -= in.pos
		in.pos = 0
	}
	if in.end == len(in.buf) {
		return nil // a full buffer: the caller consumes before it asks again
	}
	for tries := 0; tries < 100; tries++ {
		n, err := in.src.Read(in.buf[in.end:])
		in.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (in *input) byte() (byte, error) {
	if in.pos == in.end {
		if err := in.fill(); err != nil {
			return 0, err
		}
	}
	b := in.buf[in.pos]
	in.pos++
	return b, nil
}

// full reads exactly len(p) bytes.
func (in *input) full(p []byte) error {
	for len(p) > 0 {
		if in.pos == in.end {
			if err := in.fill(); err != nil {
				return unexpected(err)
			}
		}
		n := copy(p, in.buf[in.pos:in.end])
		in.pos += n
		p = p[n:]
	}
	return nil
}

var errVarint = errors.New("a variable-length integer is longer than 10 bytes")

// uvarint reads a LEB128 integer.
func (in *input) uvarint() (uint64, error) {
	var v uint64
	for i := 0; i < binary.MaxVarintLen64; i++ {
		b, err := in.byte()
		if err != nil {
			if i > 0 {
				err = unexpected(err)
			}
			return 0, err
		}
		if i == binary.MaxVarintLen64-1 && b > 1 {
			return 0, errVarint
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errVarint
}

func (in *input) uint64() (uint64, error) {
	var p [8]byte
	err := in.full(p[:])
	return binary.LittleEndian.Uint64(p[:]), err
}

// text reads a string of at most limit bytes.
func (in *input) text(limit int) (string, error) {
	n, err := in.uvarint()
	if err != nil {
		return "", unexpected(err)
	}
	if n > uint64(limit) {
		return "", fmt.Errorf("a string of %d bytes, where at most %d are allowed", n, limit)
	}
	// A claimed length is not believed before its bytes arrive.
	out := make([]byte, 0, min(int(n), inputBuffer))
	for len(out) < int(n) {
		step := min(int(n)-len(out), inputBuffer)
		at := len(out)
		out = append(out, make([]byte, step)...)
		if err := in.full(out[at:]); err != nil {
			return "", err
		}
	}
	return string(out), nil
}

// unexpected turns an end of input in the middle of a value into an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
