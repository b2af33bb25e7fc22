package batch_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestHashRows holds hashes against bytes that are written out here.
func TestHashRows(t *testing.T) {
	b := &batch.Batch{
		Schema: &batch.Schema{Fields: []batch.Field{
			{Name: "b", Type: batch.Type{Kind: batch.Bool}},
			{Name: "i", Type: batch.Type{Kind: batch.Int16}},
			{Name: "s", Type: batch.Type{Kind: batch.String}, Nullable: true},
			{Name: "f", Type: batch.Type{Kind: batch.Float64}},
			{Name: "d", Type: batch.Type{Kind: batch.Date32}},
			{Name: "t", Type: batch.TimestampOf(batch.Nanosecond)},
			{Name: "u", Type: batch.Type{Kind: batch.Uint8}},
		}},
		Rows: 2,
		Cols: []batch.Column{
			{Values: []byte{0b10}},
			{Values: batch.Bytes([]int16{-2, 258})},
			{Validity: []byte{0b10}, Nulls: 1, Offsets: batch.Bytes([]int32{0, 3, 5}), Values: []byte("xxxab")}, // what lies under a null is not looked at
			{Values: batch.Bytes([]float64{math.Copysign(0, -1), 1})},
			{Values: batch.Bytes([]int32{-1, 1})},
			{Values: batch.Bytes([]int64{-1, 1})},
			{Values: []byte{7, 8}},
		},
	}
	want := []string{
		"0100" + "01feff" + "00" + "010000000000000080" + "01ffffffff" + "01ffffffffffffffff" + "0107",
		"0101" + "010201" + "0102000000000000006162" + "01000000000000f03f" + "0101000000" + "010100000000000000" + "0108",
	}
	got := make([]uint64, 2)
	batch.HashRows(got, b, nil)
	for i, text := range want {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got[i] != xxhash.Sum64(raw) {
			t.Errorf("row %d: %016x, want the hash of %s", i, got[i], text)
		}
	}
	// The example of the specification: one that a database agrees with.
	if h := xxhash.Sum64String("abc"); h != 0x44bc2cf5ad770999 {
		t.Errorf("XXH64 of abc is %x", h)
	}
}

// TestHashRowsTogether holds many rows, some of them long and some null, against each of them alone.
func TestHashRowsTogether(t *testing.T) {
	const rows = 1000
	s := &batch.Schema{Fields: []batch.Field{
		{Name: "n", Type: batch.Type{Kind: batch.Int64}},
		{Name: "text", Type: batch.Type{Kind: batch.String}, Nullable: true},
		{Name: "amount", Type: batch.Type{Kind: batch.Decimal, Precision: 20, Scale: 2}, Nullable: true},
	}}
	numbers, amounts, offsets, data := make([]int64, rows), make([]uint64, 2*rows), make([]int32, 1, rows+1), []byte(nil)
	validity := make([]byte, batch.BitmapLen(rows))
	nulls := 0
	for i := range rows {
		numbers[i], amounts[2*i], amounts[2*i+1] = int64(i), uint64(-i), uint64(-i>>63)
		size := i % 40
		if i%97 == 0 {
			size = i * 40 // up to 40 KB: rows that do not fit together
		}
		data = append(data, bytes.Repeat([]byte{byte(i)}, size)...)
		offsets = append(offsets, int32(len(data)))
		if i%7 == 3 {
			nulls++
		} else {
			batch.SetBit(validity, i)
		}
	}
	all := &batch.Batch{Schema: s, Rows: rows, Cols: []batch.Column{
		{Values: batch.Bytes(numbers)},
		{Values: data, Offsets: batch.Bytes(offsets), Validity: validity, Nulls: nulls},
		{Values: batch.Bytes(amounts), Validity: validity, Nulls: nulls},
	}}
	got := batch.Hashes(all)
	for i := range rows {
		raw := binary.LittleEndian.AppendUint64([]byte{1}, uint64(numbers[i]))
		if i%7 == 3 {
			raw = append(raw, 0, 0)
		} else {
			text := data[offsets[i]:offsets[i+1]]
			raw = binary.LittleEndian.AppendUint64(append(raw, 1), uint64(len(text)))
			raw = append(append(raw, text...), 1)
			raw = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(raw, amounts[2*i]), amounts[2*i+1])
		}
		if got[i] != xxhash.Sum64(raw) {
			t.Fatalf("row %d: %016x, want %016x", i, got[i], xxhash.Sum64(raw))
		}
	}
}

// BenchmarkHashRows hashes rows like those of the examples: two keys, and five states.
func BenchmarkHashRows(b *testing.B) {
	const rows = 8192
	ms, f64, u64 := batch.TimestampOf(batch.Millisecond), batch.Type{Kind: batch.Float64}, batch.Type{Kind: batch.Uint64}
	s := &batch.Schema{Fields: []batch.Field{
		{Name: "window_start", Type: ms},
		{Name: "window_end", Type: ms},
		{Name: "_rows", Type: u64},
		{Name: "site", Type: batch.Type{Kind: batch.String}},
		{Name: "device", Type: batch.Type{Kind: batch.String}},
		{Name: "n", Type: u64},
		{Name: "sum", Type: f64, Nullable: true},
		{Name: "count", Type: u64},
		{Name: "min", Type: f64, Nullable: true},
		{Name: "max", Type: f64, Nullable: true},
	}}
	bb := &batch.Batch{Schema: s, Rows: rows, Cols: make([]batch.Column, len(s.Fields))}
	for k, f := range s.Fields {
		if f.Type.Variable() {
			offsets, data := []int32{0}, []byte(nil)
			for i := range rows {
				data = append(binary.AppendUvarint(data, uint64(i)), "device-0"...)
				offsets = append(offsets, int32(len(data)))
			}
			bb.Cols[k] = batch.Column{Offsets: batch.Bytes(offsets), Values: data}
			continue
		}
		values := make([]uint64, rows)
		for i := range values {
			values[i] = uint64(i) * 0x9e3779b97f4a7c15
		}
		bb.Cols[k] = batch.Column{Values: batch.Bytes(values)}
	}
	dst, buf := make([]uint64, rows), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = batch.HashRows(dst, bb, buf)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
