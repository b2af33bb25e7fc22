package sink

import (
	"fmt"
	"slices"
)

// Span is a stretch of windows that a node which was cut off for too long did not keep as they were: those of a segment that
// start from From on and before To, in milliseconds since 1970. Width is that of the windows they were merged into, in
// milliseconds; 0 says that they were dropped.
type Span struct{ From, To, Width int64 }

// Dropped tells whether nothing is left of the windows.
func (s Span) Dropped() bool { return s.Width == 0 }

// Spans are the spans of a segment, in order and without overlap. The account of the segment has them ([Coverage]), and it
// alone decides which rows of it count: inside of a span those merged to its width, elsewhere those that are not merged. So it
// does not matter who else, before or since, stored the windows of a span otherwise.
type Spans []Span

// MaxSpans is how many spans a segment may have. They are part of every commit.
const MaxSpans = 32

// Find is the span that a window belongs to, by its start.
func (s Spans) Find(start int64) (Span, bool) {
	for _, have := range s {
		if have.From <= start && start < have.To {
			return have, true
		}
	}
	return Span{}, false
}

// Coarse tells whether a row of a window is one of those that others were merged into.
func (s Spans) Coarse(start, end int64) bool {
	in, ok := s.Find(start)
	return ok && !in.Dropped() && end-start == in.Width
}

// With is the spans with another one in place of what it overlaps. The receiver stays as it is.
func (s Spans) With(n Span) Spans {
	out := make(Spans, 0, len(s)+2)
	for _, have := range s {
		if left := have; left.From < n.From {
			left.To = min(left.To, n.From)
			out = append(out, left)
		}
		if right := have; right.To > n.To {
			right.From = max(right.From, n.To)
			out = append(out, right)
		}
	}
	out = append(out, n)
	slices.SortFunc(out, func(a, b Span) int {
		if a.From < b.From {
			return -1
		}
		return 1
	})
	joined := out[:1]
	for _, next := range out[1:] {
		if last := &joined[len(joined)-1]; last.To == next.From && last.Width == next.Width {
			last.To = next.To
		} else {
			joined = append(joined, next)
		}
	}
	return joined
}

// Flat is the spans as numbers: from, to and width of each. It is how they are stored.
func (s Spans) Flat() []int64 {
	flat := make([]int64, 0, 3*len(s))
	for _, have := range s {
		flat = append(flat, have.From, have.To, have.Width)
	}
	return flat
}

// FlatSpans reads what Flat gave.
func FlatSpans(flat []int64) (Spans, error) {
	if len(flat)%3 != 0 {
		return nil, fmt.Errorf("%w: %d numbers are no spans", ErrDamaged, len(flat))
	}
	var s Spans
	for i := 0; i < len(flat); i += 3 {
		n := Span{flat[i], flat[i+1], flat[i+2]}
		if n.From >= n.To || n.Width < 0 || len(s) > 0 && s[len(s)-1].To > n.From {
			return nil, fmt.Errorf("%w: span %d of %v", ErrDamaged, i/3, flat)
		}
		s = append(s, n)
	}
	return s, nil
}
