package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strings"

	"github.com/weir-stream/weir/bench/workload"
)

// maxLine is the longest line that is sent, in bytes. Few brokers take more.
const maxLine = 1 << 20

// lines makes a record of every line; see workload.Generator.
type lines struct {
	ctx        context.Context //nolint:containedctx // Next has none, and must end with the command
	read       <-chan line
	partitions int32
	key        []string

	offsets []int64
	turn    int32 // partition of the next record without a key
	keyless int64 // lines without a key
	err     error
}

// line is a line, or why there are no more.
type line struct {
	text []byte
	err  error
}

// newLines reads lines from in until ctx ends.
func newLines(ctx context.Context, in io.Reader, partitions int32, keyField string) *lines {
	// Nothing interrupts a read from a terminal or a pipe, so the reader is left behind when the command is interrupted;
	// it ends with the process.
	read := make(chan line, 256)
	go readLines(ctx, in, read)
	g := &lines{ctx: ctx, read: read, partitions: partitions, offsets: make([]int64, partitions)}
	if keyField != "" {
		g.key = strings.Split(keyField, ".")
	}
	return g
}

func readLines(ctx context.Context, in io.Reader, to chan<- line) {
	defer close(to)
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), maxLine+2)
	n := 0
	for s.Scan() {
		n++
		text := bytes.Clone(s.Bytes()) // without \n and \r\n
		if len(text) == 0 {
			continue
		}
		select {
		case to <- line{text: text}:
		case <-ctx.Done():
			return
		}
	}
	if err := s.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("it is longer than %d bytes", maxLine)
		}
		select {
		case to <- line{err: fmt.Errorf("read line %d: %w", n+1, err)}:
		case <-ctx.Done():
		}
	}
}

// Partitions implements workload.Generator.
func (g *lines) Partitions() int32 { return g.partitions }

// Err implements workload.Generator.
func (g *lines) Err() error { return g.err }

// Next implements workload.Generator.
func (g *lines) Next(r *workload.Record) bool {
	text, more := g.take()
	if !more {
		return false
	}
	r.Value = append(r.Value[:0], text...)
	r.Time = 0
	r.Key = append(r.Key[:0], fieldText(r.Value, g.key)...)
	g.place(r)
	return true
}

// take waits for the next line. After the last one, err says why there are no more.
func (g *lines) take() (text []byte, more bool) {
	select {
	case l, more := <-g.read:
		if !more || l.err != nil {
			g.err = l.err
			return nil, false
		}
		return l.text, true
	case <-g.ctx.Done():
		g.err = g.ctx.Err()
		return nil, false
	}
}

// place gives a record its partition, by its key or else in turn, and its offset.
func (g *lines) place(r *workload.Record) {
	if len(r.Key) == 0 {
		g.keyless++
		r.Partition = g.turn
		g.turn = (g.turn + 1) % g.partitions
	} else {
		h := fnv.New32a()
		_, _ = h.Write(r.Key)
		r.Partition = int32(h.Sum32() % uint32(g.partitions))
	}
	r.Offset = g.offsets[r.Partition]
	g.offsets[r.Partition]++
}

// fieldText is a field of a JSON object as text: a string without its quotes, anything else as it is written; nil where
// there is none. path leads into objects inside.
func fieldText(object []byte, path []string) []byte {
	if len(path) == 0 {
		return nil
	}
	value := json.RawMessage(object)
	for _, name := range path {
		var fields map[string]json.RawMessage
		if json.Unmarshal(value, &fields) != nil {
			return nil
		}
		value = fields[name]
	}
	var text string
	switch {
	case len(value) == 0 || string(value) == "null":
		return nil
	case value[0] == '"' && json.Unmarshal(value, &text) == nil:
		return []byte(text)
	}
	return value
}
