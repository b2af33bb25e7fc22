package spool

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// someLetters have every part at its ends: what records are rejected for, and when they say they were made, is up to whoever sends them.
func someLetters() []sink.DeadLetter {
	return []sink.DeadLetter{
		{Time: time.UnixMilli(0)},
		{
			Partition: batch.Partition{Topic: "sensors", TopicID: [16]byte{1, 2, 15: 3}, ID: 7}, Revision: math.MaxUint64, Segment: 300, Offset: 1 << 40, Index: 12,
			Time: time.UnixMilli(1_700_000_000_123), Step: "decode", Reason: batch.ReasonMalformed, Detail: "offset 3: no } \xff", Key: []byte("d7"), Payload: []byte("{\x00"), Truncated: true,
		},
		{Time: time.UnixMilli(math.MaxInt64), Offset: math.MaxInt64, Segment: math.MaxUint64, Step: "decode", Row: true, Payload: []byte(`{"a":1}`)},
		{Time: time.UnixMilli(math.MinInt64), Index: math.MaxInt32, Partition: batch.Partition{ID: math.MaxInt32}, Row: true, Truncated: true},
	}
}

func TestLetter(t *testing.T) {
	var before sink.DeadLetter
	for i, want := range someLetters() {
		data := appendLetter(nil, &want)
		got, err := readLetter(data, &before)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("letter %d: got %+v (%v), want %+v", i, got, err, want)
		}
		for n := range data {
			if d, err := readLetter(data[:n], &before); !errors.Is(err, ErrDamaged) {
				t.Errorf("letter %d, %d of %d bytes: %+v, %v", i, n, len(data), d, err)
			}
		}
		if _, err := readLetter(append(data, 0), &before); !errors.Is(err, ErrDamaged) {
			t.Errorf("letter %d with a byte more: %v", i, err)
		}
		before = got
	}
	// As stores have them that were written before letters had this form.
	old := someLetters()[1]
	old.Detail = "as text"
	text, err := json.Marshal(&old)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := readLetter(text, &before); err != nil || !got.Time.Equal(old.Time) || got.Detail != old.Detail || string(got.Payload) != string(old.Payload) {
		t.Errorf("got %+v (%v), want %+v", got, err, old)
	}
}

// TestLettersOfAnyTime stores what a hostile producer sends: a record whose time is not of any year that there is.
func TestLettersOfAnyTime(t *testing.T) {
	s := mustOpen(t, small(t, vfs.NewMem()))
	defer func() { _ = s.Close() }()
	l := s.Lane(ID{Pipeline: "p"}, &table)
	if _, err := l.Load(nil); err != nil {
		t.Fatal(err)
	}
	c := l.Change()
	c.PutLetters(someLetters())
	if err := c.Commit([]byte("meta")); err != nil {
		t.Fatal(err)
	}
	view, err := l.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if got, err := view.Letters(1 << 20); err != nil || !reflect.DeepEqual(got, someLetters()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzLetter(f *testing.F) {
	for _, d := range someLetters() {
		f.Add(appendLetter(nil, &d))
	}
	f.Add([]byte(`{"Offset":3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := readLetter(data, &sink.DeadLetter{Step: "decode"})
		if err != nil || data[0] == letterJSON {
			return
		}
		again, err := readLetter(appendLetter(nil, &d), &sink.DeadLetter{})
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Errorf("%+v became %+v, %v", d, again, err)
		}
	})
}

func BenchmarkLetters(b *testing.B) {
	d := someLetters()[1]
	d.Payload = make([]byte, 150)
	var data []byte
	b.Run("put", func(b *testing.B) {
		for b.Loop() {
			data = appendLetter(data[:0], &d)
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := readLetter(data, &d); err != nil {
				b.Fatal(err)
			}
		}
	})
}
