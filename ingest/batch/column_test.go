package batch

import (
	"math/rand/v2"
	"testing"
)

func TestBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		bm := make([]byte, BitmapLen(n)+2)
		for i := range bm {
			bm[i] = byte(rng.Uint32())
		}
		want := make([]bool, n)
		for i := range want {
			want[i] = rng.IntN(2) == 0
			if want[i] {
				SetBit(bm, i)
			} else {
				ClearBit(bm, i)
			}
		}
		count := 0
		c := Column{Validity: bm, Values: bm}
		for i, w := range want {
			if c.Valid(i) != w || c.Bit(i) != w {
				t.Fatalf("bit %d of %d", i, n)
			}
			if w {
				count++
			}
		}
		if got := CountBits(bm, n); got != count {
			t.Fatalf("%d bits: counted %d, want %d", n, got, count)
		}
		before := bm[BitmapLen(n)]
		FillBits(bm, n)
		if CountBits(bm, n) != n || CountBits(bm, BitmapLen(n)*8) != n {
			t.Fatalf("%d bits: filled %x", n, bm)
		}
		if bm[BitmapLen(n)] != before {
			t.Fatalf("%d bits: filled the byte behind", n)
		}
	}
	if c := (&Column{}); !c.Valid(5) {
		t.Error("a column without bitmap has nulls")
	}
}

func TestViews(t *testing.T) {
	v := []uint32{1, 0xffffffff, 7}
	b := Bytes(v)
	if len(b) != 12 || b[0] != 1 || b[4] != 0xff {
		t.Errorf("%x", b)
	}
	back := As[uint32](b)
	if len(back) != 3 || back[2] != 7 {
		t.Errorf("%v", back)
	}
	back[0] = 5
	if v[0] != 5 {
		t.Error("a view does not share memory")
	}
	if As[uint64](b[:7]) != nil || As[uint32](nil) != nil || Bytes[int8](nil) != nil {
		t.Error("a view of nothing is not nil")
	}
	if n := len(As[uint64](b)); n != 1 {
		t.Errorf("%d values of 12 bytes", n)
	}
}
