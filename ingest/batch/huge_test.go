package batch

import "testing"

// Memory that large pages were asked for is as it was, wherever it begins, and grows and goes as other memory does.
func TestHuge(t *testing.T) {
	for _, n := range []int{0, 1, 1 << 19, 1<<19 + 1, 1<<20 + 13, 3 << 20} {
		for _, from := range []int{0, 1, 511} {
			s := make([]uint64, n+from)
			for i := range s {
				s[i] = uint64(i)
			}
			got := Huge(s[from:])
			if len(got) != n {
				t.Fatalf("%d of %d are left", len(got), n)
			}
			got = append(got, uint64(n+from))
			for i, v := range got {
				if v != uint64(i+from) {
					t.Fatalf("%d from %d: place %d has %d", n, from, i, v)
				}
			}
		}
	}
	if Huge([]byte(nil)) != nil {
		t.Error("nothing became something")
	}
}
