//go:build wasip1

// The guest of the conformance suite's aggregate in Go; operators/sdk/conformance/README.md says what it does.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
	"github.com/weir-stream/weir/operators/sdk/go/weir/aggregate"
)

func init() { aggregate.Serve(open) }

func main() {}

type state struct {
	count uint64
	sum   int64
	text  []byte
}

type journal struct{ n, s int }

func open(p *weir.Plan) (aggregate.Function[state], error) {
	if message := p.Config().Get("message").Text(""); message != "" {
		return nil, errors.New(message)
	}
	j := journal{n: p.Column("n", weir.Int64), s: p.Column("s", weir.String)}
	p.Declare("answer", weir.String, true)
	return j, nil
}

func (journal) Init() state { return state{} }

func (journal) Load(b []byte) (state, error) {
	if len(b) < 16 {
		return state{}, errors.New("a state is too short")
	}
	return state{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:])), append([]byte(nil), b[16:]...)}, nil
}

func (journal) Save(s state, to []byte) []byte {
	to = binary.LittleEndian.AppendUint64(to, s.count)
	to = binary.LittleEndian.AppendUint64(to, uint64(s.sum))
	return append(to, s.text...)
}

func (j journal) Accumulate(s state, b *weir.Batch, from, to int) (state, error) {
	n, text := weir.Values[int64](b, j.n), b.Strings(j.s)
	for i := from; i < to; i++ {
		if !b.Valid(j.n, i) {
			continue
		}
		if n[i] == 13 {
			return s, errors.New("a row has n = 13")
		}
		s.count++
		s.sum += n[i]
		s.text = append(s.text, text.At(i)...)
	}
	return s, nil
}

func (journal) Merge(s, o state) (state, error) {
	return state{s.count + o.count, s.sum + o.sum, append(s.text, o.text...)}, nil
}

func (journal) Finish(s state) (any, error) {
	if s.count == 0 {
		return nil, nil
	}
	return strconv.FormatUint(s.count, 10) + " " + strconv.FormatInt(s.sum, 10) + " " + string(s.text), nil
}
