package decode

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The codecs of Arrow's BodyCompression.
const (
	codecLZ4  = 0
	codecZstd = 1
)

// inflater uncompresses the buffers of one record after the other. Its memory is used again by the next record.
type inflater struct {
	mem  []byte // of which used are taken
	used int
	zstd *zstd.Decoder
	lz4  *lz4.Reader
	in   bytes.Reader
}

// reset ends the use of all buffers that were handed out.
func (x *inflater) reset() { x.used = 0 }

// buffer uncompresses to exactly size bytes, which the caller has bounded. They are the inflater's, until reset.
func (x *inflater) buffer(codec int, from []byte, size int) ([]byte, error) {
	if size > len(x.mem)-x.used {
		x.mem, x.used = make([]byte, max(size, 2*len(x.mem), 64<<10)), 0
	}
	to := x.mem[x.used : x.used+size : x.used+size]
	x.used += size
	if codec == codecZstd {
		return to, x.fromZstd(to, from)
	}
	return to, x.fromLZ4(to, from)
}

func (x *inflater) fromZstd(to, from []byte) error {
	if x.zstd == nil {
		var err error
		// A frame that has more than it says is refused once it is over this, and its output is bounded by what it said.
		if x.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(arrowGrowth*limitRecord), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return fmt.Errorf("start Zstandard: %w", err)
		}
	}
	out, err := x.zstd.DecodeAll(from, to[:0])
	if err == nil && len(out) != len(to) {
		err = fmt.Errorf("it has %d bytes", len(out))
	}
	return err
}

func (x *inflater) fromLZ4(to, from []byte) error {
	x.in.Reset(from)
	defer x.in.Reset(nil)
	if x.lz4 == nil {
		x.lz4 = lz4.NewReader(&x.in)
	} else {
		x.lz4.Reset(&x.in)
	}
	if n, err := io.ReadFull(x.lz4, to); err != nil {
		return fmt.Errorf("it ends after %d bytes: %w", n, err)
	}
	var more [1]byte
	if n, err := x.lz4.Read(more[:]); n > 0 || !errors.Is(err, io.EOF) {
		if n > 0 {
			return errors.New("it has more bytes")
		}
		return err
	}
	return nil
}
