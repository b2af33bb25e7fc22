package aggregate

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// TestBitmap compares bitmaps of every shape with those of ClickHouse: what it reads of them, merged with its own, and where it has no runs, byte
// by byte.
func TestBitmap(t *testing.T) {
	conn := connect(t)
	rng := rand.New(rand.NewPCG(23, 24))
	a, err := plan("group_bitmap", nil, "u")
	if err != nil {
		t.Fatal(err)
	}
	fill := func(values []uint64) Accumulator {
		acc := a.Accumulator()
		acc.Grow(1)
		acc.Add(make([]uint32, len(values)), []*batch.Column{{Values: batch.Bytes(values)}})
		return acc
	}
	for _, c := range []struct {
		values string // of number, in SQL
		n      int
		of     func(n uint64) uint64
	}{
		{"number * 7", 32, func(n uint64) uint64 { return n * 7 }},
		{"number * 7", 33, func(n uint64) uint64 { return n * 7 }},
		{"number * 3", 4096, func(n uint64) uint64 { return n * 3 }},
		{"number * 3", 4097, func(n uint64) uint64 { return n * 3 }},
		{"number * 2", 40_000, func(n uint64) uint64 { return n * 2 }},
		{"number * 5000000011", 300, func(n uint64) uint64 { return n * 5000000011 }},
		{"18446744073709551615 - number * 2", 9000, func(n uint64) uint64 { return ^(n * 2) }},
	} {
		values := make([]uint64, c.n)
		for i := range values {
			values[i] = c.of(uint64(i))
		}
		inOrder := emitted(fill(values))
		want := ask(t, conn, fmt.Sprintf("SELECT hex(groupBitmapState(toUInt64(%s))) FROM numbers(%d) SETTINGS max_threads = 1", c.values, c.n))
		if got := strings.ToUpper(hex.EncodeToString(inOrder)); got != want {
			t.Errorf("%s up to %d: %.200s, and ClickHouse's is %.200s", c.values, c.n, got, want)
		}
		rng.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		if shuffled := emitted(fill(append(values, values...))); c.n > bitmapSmall && !slices.Equal(shuffled, inOrder) {
			t.Errorf("%s up to %d: another order makes other bytes", c.values, c.n)
		}
		// Half of it made here, in two parts, and half there.
		half := emitted(fill(values[:c.n/2]))
		merged := fill(values[:c.n/3])
		mergeInto(t, a, merged, fill(values[c.n/4:]))
		if !slices.Equal(emitted(merged), inOrder) && c.n > bitmapSmall {
			t.Errorf("%s up to %d: merged, it is something else", c.values, c.n)
		}
		if size := merged.(Sized).MemorySize(); size < 2*int64(c.n)/10 || size > 200*int64(c.n)+20_000 {
			t.Errorf("%s up to %d: %d bytes of memory", c.values, c.n, size)
		}
		got := ask(t, conn, fmt.Sprintf(`SELECT toString(groupBitmapMerge(st)) FROM (SELECT CAST(unhex('%X') AS AggregateFunction(groupBitmap, UInt64)) AS st
			UNION ALL SELECT groupBitmapState(toUInt64(%s)) FROM numbers(%d) WHERE number %% 3 > 0 UNION ALL SELECT groupBitmapState(toUInt64(%s)) FROM numbers(%d) WHERE number %% 3 = 0)`,
			half, c.values, c.n, c.values, c.n))
		if got != fmt.Sprint(c.n) {
			t.Errorf("%s up to %d: with what ClickHouse has, %s", c.values, c.n, got)
		}
	}
}
