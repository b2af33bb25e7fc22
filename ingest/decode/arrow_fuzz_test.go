package decode

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// hostileColumns are the columns that hostile streams are read by; the streams have more fields than these.
func hostileColumns() schema.Columns {
	key := value("key", "string?")
	key.From = schema.FromKey
	cols := schema.Columns{value("gone", "float32?"), key}
	for k, kind := range arrowKinds {
		if k%4 != 3 {
			cols = append(cols, value(fmt.Sprintf("c%d", k), kind.to+"?"))
		}
	}
	return cols
}

// hostileSeeds are good streams of all types, nested ones that no column needs included.
func hostileSeeds(t testing.TB) [][]byte {
	fields := []arrow.Field{{Name: "list", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}}
	for k, kind := range arrowKinds {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", k), Type: kind.from, Nullable: true})
	}
	fields = append(fields,
		arrow.Field{Name: "struct", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int8, Nullable: true}), Nullable: true},
		arrow.Field{Name: "view", Type: arrow.BinaryTypes.StringView, Nullable: true},
		arrow.Field{Name: "map", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), Nullable: true},
		arrow.Field{Name: "null", Type: arrow.Null, Nullable: true},
		arrow.Field{Name: "union", Type: arrow.SparseUnionOf([]arrow.Field{{Name: "u", Type: arrow.PrimitiveTypes.Int8, Nullable: true}}, []arrow.UnionTypeCode{0}), Nullable: true},
		arrow.Field{Name: "last", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
	)
	s := arrow.NewSchema(fields, nil)
	var seeds [][]byte
	for n, opts := range [][]ipc.Option{nil, {ipc.WithLZ4()}, {ipc.WithZstd()}} {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		b := array.NewRecordBuilder(memory.DefaultAllocator, s)
		for range 3 + 2*n {
			for f := range fields {
				name := fields[f].Name
				if name[0] != 'c' || rng.IntN(4) == 0 {
					b.Field(f).AppendNull()
					continue
				}
				k := 0
				_, _ = fmt.Sscanf(name, "c%d", &k)
				to, _, _ := batch.ParseType(arrowKinds[k].to)
				appendRandom(rng, b.Field(f), to)
			}
		}
		whole := b.NewRecord()
		seeds = append(seeds, stream(t, s, []arrow.Record{whole.NewSlice(0, 1), whole.NewSlice(1, 3+2*int64(n))}, opts...))
	}
	return seeds
}

// checkHostile decodes a stream in several ways, between two good records. All must give the same, whatever it is.
func checkHostile(t testing.TB, data, good []byte) {
	t.Helper()
	records := []batch.Record{{Value: good, Key: []byte("before")}, {Value: data, Key: []byte("k")}, {Value: good, Key: []byte("behind")}}
	opts := Options{MaxRecord: 16 << 10}
	want := decodeArrow(t, newArrowDecoder(t, hostileColumns(), opts), 1<<18, records, batch.Partition{})
	if want.rejects[0] != "" || want.rejects[2] != "" {
		t.Fatalf("it spoiled its neighbours: %v", want.rejects)
	}
	opts.MaxRows = 2
	got := decodeArrow(t, newArrowDecoder(t, hostileColumns(), opts), 1<<9, records, batch.Partition{})
	if !maps.Equal(got.rejects, want.rejects) || len(got.rows) != len(want.rows) {
		t.Fatalf("in small batches %d rows, rejects %v; else %d, %v", len(got.rows), got.rejects, len(want.rows), want.rejects)
	}
	for i := range got.rows {
		if fmt.Sprint(got.rows[i], got.of[i]) != fmt.Sprint(want.rows[i], want.of[i]) { // NaN is NaN
			t.Fatalf("row %d: %v of record %d in small batches, else %v of %d", i, got.rows[i], got.of[i], want.rows[i], want.of[i])
		}
	}
}

// FuzzArrow feeds the decoder what is no stream of Arrow, or nearly.
func FuzzArrow(f *testing.F) {
	seeds := hostileSeeds(f)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkHostile(t, data, seeds[0]) })
}

// TestArrowBitFlips changes every byte of good streams in a few ways. It is what the fuzzer would begin with.
func TestArrowBitFlips(t *testing.T) {
	for k, seed := range hostileSeeds(t) {
		rng := rand.New(rand.NewPCG(9, uint64(k)))
		d := newArrowDecoder(t, hostileColumns(), Options{MaxRecord: 16 << 10})
		rejected, changed := 0, 0
		for at := 0; at < len(seed); at += 1 + rng.IntN(40) {
			for _, change := range []byte{0x01, 0x80, 0xff, byte(rng.Uint32())} {
				data := append([]byte(nil), seed...)
				data[at] ^= change
				if rng.IntN(200) == 0 {
					checkHostile(t, data, seed)
					continue
				}
				got := decodeArrow(t, d, 1<<12, []batch.Record{{Value: data}, {Value: seed}}, batch.Partition{})
				if got.rejects[1] != "" {
					t.Fatalf("byte %d ^ %x spoiled the next record: %s", at, change, got.rejects[1])
				}
				rejected += len(got.rejects)
			}
			decodeArrow(t, d, 1<<12, []batch.Record{{Value: seed[:at]}}, batch.Partition{})
			changed++
		}
		if rejected < changed {
			t.Errorf("%d of %d changed streams were rejected", rejected, 4*changed)
		}
	}
}
