package wasm

import (
	"math"
	"testing"
)

// TestRises holds the check of eight numbers at a time against one number at a time, with each place out of order in turn.
func TestRises(t *testing.T) {
	for n := 1; n < 40; n++ {
		for at := range n {
			for _, wrong := range []int32{0, -1, math.MinInt32, math.MaxInt32, 3} {
				for by := range int32(2) {
					v := make([]int32, n)
					for i := range v {
						v[i] = int32(3 * i)
					}
					v[at] += wrong
					want := v[0] >= 0
					for i := 1; i < n; i++ {
						want = want && v[i] >= 0 && int64(v[i])-int64(v[i-1]) >= int64(by)
					}
					if got := rises(v, by); got != want {
						t.Fatalf("rises(%v, %d) is %v", v, by, got)
					}
				}
			}
		}
	}
}

func TestASCII(t *testing.T) {
	for n := range 200 {
		text := make([]byte, n)
		if !ascii(text) {
			t.Fatalf("%d bytes of ASCII are not", n)
		}
		for i := range text {
			text[i] = 0x80
			if ascii(text) {
				t.Fatalf("%d bytes with one of 0x80 at %d are ASCII", n, i)
			}
			text[i] = 0x7f
		}
	}
}
