package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// The pipeline of all schedules: counts and sums of v by device, in windows.
const (
	topic    = "sensors"
	windowMS = 10_000
	disorder = 2_000
	lateness = 5_000
	maxJump  = 3_600_000
)

// meaning is what a record says, as the generator knows it. The oracle reads this and never the bytes.
type meaning struct {
	ts     int64 // event time in milliseconds
	stamp  int64 // of the Kafka record
	device string
	v      int64
	broken bool // not JSON
}

func (m *meaning) value() []byte {
	text := fmt.Appendf(nil, `{"ts":%d,"device":%q,"v":%d}`, m.ts, m.device, m.v)
	if m.broken {
		return text[:len(text)-2]
	}
	return text
}

// stream makes the records of one partition: event time advances with the wall clock of the schedule.
type stream struct {
	rng     *rand.Rand
	devices int
}

// draw makes a record for a moment in milliseconds.
func (s *stream) draw(now int64) meaning {
	m := meaning{
		ts: now - s.rng.Int64N(disorder), stamp: now,
		device: fmt.Sprintf("d%d", s.rng.IntN(s.devices)), v: s.rng.Int64N(1000),
	}
	switch s.rng.IntN(40) {
	case 0:
		m.ts -= s.rng.Int64N(40_000) // perhaps late
	case 1:
		m.broken = true
	case 2:
		if s.rng.IntN(4) == 0 {
			m.ts += 2*maxJump + s.rng.Int64N(maxJump) // a clock that runs ahead
		}
	}
	return m
}

// place is a partition of one topic, which may be created again under the same name.
type place struct {
	topic [16]byte
	part  int32
}

func (p place) String() string { return fmt.Sprintf("%x/%d", p.topic[:3], p.part) }

// remembered is the log of a place. Each time it is cut back another era begins; a reader that was ahead saw the era
// before. The eras of a log share the records below the cut.
type remembered struct {
	eras   [][]meaning // by offset; none is ever removed
	cuts   []int64     // where each era but the first begins to differ from the one before
	first  int64       // offsets below were deleted
	firsts []int64     // what it has been
}

func (l *remembered) now() []meaning { return l.eras[len(l.eras)-1] }

func (l *remembered) end() int64 { return int64(len(l.now())) }

func (l *remembered) append(m meaning) {
	i := len(l.eras) - 1
	l.eras[i] = append(l.eras[i], m)
}

// cut begins another era, of other records from an offset on.
func (l *remembered) cut(at int64) {
	l.eras, l.cuts = append(l.eras, slices.Clone(l.now()[:at])), append(l.cuts, at)
}

// differs tells whether the log was cut back at an offset, and records up to another one were there before. Where records behind the cut
// are deleted, too, others begin with the first that was there then.
func (l *remembered) differs(from, to int64) bool {
	return slices.ContainsFunc(l.cuts, func(at int64) bool { return at < to && (from == at || at < from && slices.Contains(l.firsts, from)) })
}
