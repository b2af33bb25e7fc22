package window

import (
	"math/rand/v2"
	"testing"
)

// TestPlaces puts numbers in and takes them out, many of one tag, and compares with a map.
func TestPlaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, tags := range []int{1, 40, 1 << 30} {
		var p places
		want, tagged := map[uint32]uint64{}, []uint32{}
		for i := range uint32(20_000) {
			if len(tagged) > 0 && rng.IntN(9) < 4 {
				k := rng.IntN(len(tagged))
				number := tagged[k]
				tagged[k] = tagged[len(tagged)-1]
				tagged = tagged[:len(tagged)-1]
				p.remove(want[number], number)
				delete(want, number)
			} else if len(tagged) < 500 {
				want[i] = uint64(rng.IntN(tags)) * 0x61c88647 % (1 << 32)
				tagged = append(tagged, i)
				p.put(want[i], i)
			}
			if p.n != len(want) {
				t.Fatalf("%d numbers, want %d", p.n, len(want))
			}
			if i%500 != 0 {
				continue
			}
			for number, tag := range want {
				found := 0
				for got, next, ok := p.probe(tag, tag); ok; got, next, ok = p.probe(tag, next) {
					if want[got] != tag {
						t.Fatalf("number %d is found by the tag %x, and has %x", got, tag, want[got])
					}
					if got == number {
						found++
					}
				}
				if found != 1 {
					t.Fatalf("number %d is found %d times", number, found)
				}
			}
		}
	}
}
