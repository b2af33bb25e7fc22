package replay

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sort"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// merging is a stretch of windows that a node merged into wider ones, under way: what is built of them is merged here, too, and
// compared where a wide window is complete.
type merging struct {
	sink.Span
	done  int64          // wide windows that start before were compared, or do not count
	parts []*batch.Batch // rows of those behind, in the order of their windows
	bytes int64          // of parts
	given bool           // they were more than there is memory for
}

// mergings are those of the account, or none where the windows cannot be merged here.
func (p *pass) mergings() []merging {
	var all []merging
	for _, s := range p.of.Spans {
		if !s.Dropped() && p.cfg.Widening != nil {
			all = append(all, merging{Span: s, done: math.MinInt64})
		}
	}
	return all
}

// mergedHere tells whether a window is one of those that are merged and compared.
func (p *pass) mergedHere(start int64) bool {
	s, in := p.of.Spans.Find(start)
	return in && !s.Dropped() && p.cfg.Widening != nil
}

// compareMerged takes the rows of windows that start in [lo, hi) into the wide windows of the account, and compares those that are
// complete: that end at or before final and hi.
func (p *pass) compareMerged(ctx context.Context, rows *batch.Batch, lo, hi, final int64) error {
	for i := range p.merging {
		m := &p.merging[i]
		if m.done == math.MinInt64 { // wide windows that begin before the range, or before what counts, are not whole
			from := max(p.first, p.bound, m.From)
			if m.done = p.cfg.Widening.Start(from, m.Width); m.done < from {
				m.done += m.Width
			}
		}
		p.merge(m, rows, max(lo, m.From), min(hi, m.To))
		if min(hi, final) <= m.done {
			continue
		}
		until := p.cfg.Widening.Start(min(hi, final, m.To), m.Width)
		if until <= m.done {
			continue
		}
		var built *batch.Batch
		if whole := m.take(until); len(whole) > 0 {
			var err error
			if built, err = p.cfg.Widening.Merge(whole, m.Width); err != nil {
				return err
			}
			p.mended(batch.SumHashes(built))
		}
		from := m.done
		if m.done = until; m.given {
			continue
		}
		if err := p.compareBuilt(ctx, built, p.index(built, from, until), from, until, final, m.Width); err != nil {
			return err
		}
	}
	return nil
}

// merge takes the rows of windows that start in [lo, hi) into what there is of a stretch.
func (p *pass) merge(m *merging, rows *batch.Batch, lo, hi int64) {
	if rows == nil {
		return
	}
	var chosen []int32
	before := []int64{}
	all := starts(rows)
	for i, start := range all {
		switch {
		case start < lo || start >= hi:
		case start < m.done:
			before = append(before, start)
		default:
			chosen = append(chosen, int32(i))
		}
	}
	p.out.skip("rows", skipBefore, int64(len(before)), before...)
	if len(chosen) == 0 {
		return
	}
	slices.SortStableFunc(chosen, func(a, b int32) int { return cmp.Compare(all[a], all[b]) })
	fine := pick(rows, chosen)
	p.mended(-batch.SumHashes(fine))
	if m.bytes += fine.Size(); m.bytes > p.cfg.MaxState {
		m.given = true
		p.endMerged()
	}
	if m.given {
		p.out.skip("rows", skipMemory, int64(fine.Rows), starts(fine)...)
		return
	}
	m.parts = append(m.parts, fine)
}

// take takes out the rows of windows that start before a time.
func (m *merging) take(until int64) (whole []*batch.Batch) {
	var rest []*batch.Batch
	m.bytes = 0
	for _, b := range m.parts {
		all := starts(b)
		n := sort.Search(len(all), func(i int) bool { return all[i] >= until })
		if n > 0 {
			whole = append(whole, b.Head(n))
		}
		if n < len(all) {
			numbers := make([]int32, 0, len(all)-n)
			for i := n; i < len(all); i++ {
				numbers = append(numbers, int32(i))
			}
			left := pick(b, numbers)
			m.bytes += left.Size()
			rest = append(rest, left)
		}
	}
	m.parts = rest
	return whole
}

// endMerged notes what of wide windows goes on behind the range.
func (p *pass) endMerged() {
	for i := range p.merging {
		m := &p.merging[i]
		why := skipBehind
		if m.given {
			why = skipMemory
		}
		for _, b := range m.parts {
			p.out.skip("rows", why, int64(b.Rows), starts(b)...)
		}
		m.parts, m.bytes = nil, 0
	}
}

// proves tells whether the sums of hashes are those of an account with such spans.
func (p *pass) proves() bool {
	if slices.ContainsFunc(p.merging, func(m merging) bool { return m.given }) {
		return false
	}
	return p.cfg.Widening != nil || !slices.ContainsFunc(p.of.Spans, func(s sink.Span) bool { return !s.Dropped() })
}

// mended changes the sums of the hashes of rows by what differs between windows as they were built and as they are stored. All of
// them are final.
func (p *pass) mended(by uint64) {
	p.content.Final += by
	p.content.All += by
}
