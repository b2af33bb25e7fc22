package report

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"strings"
	"testing"
)

// message writes protocol buffers: the other half of what readProfile reads.
type message struct{ bytes.Buffer }

func (m *message) number(field int, v uint64) *message {
	m.Write(binary.AppendUvarint(nil, uint64(field)<<3))
	m.Write(binary.AppendUvarint(nil, v))
	return m
}

func (m *message) text(field int, b []byte) *message {
	m.Write(binary.AppendUvarint(nil, uint64(field)<<3|2))
	m.Write(binary.AppendUvarint(nil, uint64(len(b))))
	m.Write(b)
	return m
}

func gzipped(b []byte) *bytes.Buffer {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return &out
}

// profile has main calling a (30, of which 10 in b) and b (70).
func profile() []byte {
	var p message
	for id, name := range []string{"", "main.main", "github.com/weir-stream/weir/ingest/decode.a", "runtime.b<int>"} {
		p.text(6, []byte(name))
		if id > 0 {
			var f, line, l message
			f.number(1, uint64(id)).number(2, uint64(id))
			p.text(5, f.Bytes())
			line.number(1, uint64(id)).number(2, 77)
			l.number(1, uint64(id)).text(4, line.Bytes())
			p.text(4, l.Bytes())
		}
	}
	for _, s := range []struct {
		locations []byte
		value     byte
	}{{[]byte{2, 1}, 20}, {[]byte{3, 2, 1}, 10}, {[]byte{3, 1}, 70}} {
		var m message
		m.text(1, s.locations).text(2, []byte{1, s.value})
		p.text(2, m.Bytes())
	}
	return p.Bytes()
}

func TestFlame(t *testing.T) {
	stacks, err := readProfile(gzipped(profile()))
	if err != nil || len(stacks) != 3 || strings.Join(stacks[1].functions, " ") != "main.main github.com/weir-stream/weir/ingest/decode.a runtime.b<int>" || stacks[1].value != 10 {
		t.Fatalf("%+v, %v", stacks, err)
	}
	var b bytes.Buffer
	if err := WriteFlame(&b, gzipped(profile()), "CPU <of weir>"); err != nil {
		t.Fatal(err)
	}
	golden(t, "flame.svg", b.Bytes())
}

func TestBrokenProfiles(t *testing.T) {
	whole := profile()
	for n := range whole {
		if err := WriteFlame(&bytes.Buffer{}, gzipped(whole[:n]), ""); err == nil && n < 40 {
			t.Errorf("the first %d bytes are a profile", n)
		}
	}
	for _, b := range [][]byte{nil, []byte("x"), gzipped(nil).Bytes(), gzipped([]byte{0xff, 0xff, 0xff}).Bytes(), gzipped([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x7f}).Bytes()} {
		if err := WriteFlame(&bytes.Buffer{}, bytes.NewReader(b), ""); err == nil {
			t.Errorf("%x is a profile", b)
		}
	}
}

func FuzzProfile(f *testing.F) {
	f.Add(profile())
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = WriteFlame(&bytes.Buffer{}, gzipped(b), "") // it must not panic
	})
}
