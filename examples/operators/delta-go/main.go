//go:build wasip1

// Delta says what a counter has gone up by since its device's reading before. It does what delta.c beside it does, in Go;
// that file has the configuration. Keys may be of any length here.
package main

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
	"github.com/weir-stream/weir/operators/sdk/go/weir/state"
)

func init() { state.Serve(open) }

func main() {}

type delta struct {
	key, counter, out int
	last              map[string]*int64
}

func open(p *weir.Plan) (state.Operator, error) {
	d := &delta{last: map[string]*int64{}}
	d.key = p.Column(p.Config().Get("key").Text("device"), weir.String)
	d.counter = p.Column(p.Config().Get("counter").Text("counter"), weir.Int64)
	p.PassAll()
	d.out = p.Declare("delta", weir.Int64, true)
	return d, nil
}

func (d *delta) Process(b *weir.Batch) error {
	devices, now := b.Strings(d.key), weir.Values[int64](b, d.counter)
	out := weir.New[int64](b, d.out, b.Rows())
	for i := range out {
		out[i] = 0
		if !b.Valid(d.key, i) || !b.Valid(d.counter, i) {
			b.SetNull(d.out, b.Rows(), i)
			continue
		}
		if now[i] < 0 {
			return errors.New("a counter is negative")
		}
		device := devices.At(i)
		last := d.last[device]
		switch {
		case last == nil:
			b.SetNull(d.out, b.Rows(), i)
			last = new(int64)
			d.last[strings.Clone(device)] = last // the batch, and what points into it, is gone after this call
		case now[i] >= *last:
			out[i] = now[i] - *last
		default:
			out[i] = now[i]
		}
		*last = now[i]
	}
	return nil
}

// MarshalBinary gives, for each device, the length of its name, the name, and its last reading.
func (d *delta) MarshalBinary() (state []byte, err error) {
	for device, last := range d.last {
		state = binary.AppendUvarint(state, uint64(len(device)))
		state = append(state, device...)
		state = binary.LittleEndian.AppendUint64(state, uint64(*last))
	}
	return state, nil
}

// UnmarshalBinary takes what MarshalBinary gave.
func (d *delta) UnmarshalBinary(state []byte) error {
	for len(state) > 0 {
		n, used := binary.Uvarint(state)
		if used <= 0 || n > uint64(len(state)) || len(state)-used < int(n)+8 {
			return errors.New("a damaged state")
		}
		name := string(state[used : used+int(n)])
		last := int64(binary.LittleEndian.Uint64(state[used+int(n):]))
		d.last[name] = &last
		state = state[used+int(n)+8:]
	}
	return nil
}
