package workload

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// SensorsConfig describes a stream of temperature readings. The zero value of a field means its default.
type SensorsConfig struct {
	Seed    uint64
	Events  int64 // records in all: duplicates, late and broken ones included; default 1,000,000
	Devices int   // default 1,000; device i is named d0000 + i
	Sites   int   // default 20; device i stands on site i mod Sites, named s00 + i mod Sites

	// NumPartitions is how many partitions there are, 8 by default. All records of device i are in partition i mod
	// NumPartitions.
	NumPartitions int32

	// Start is the event time of the first record, 2023-11-14T22:13:20Z by default. Span is the event time the
	// stream covers, 10 minutes by default.
	Start time.Time
	Span  time.Duration

	// MaxDisorder is how far, at most, the event time of a record that is not late lies behind the stream. Default 2
	// seconds; negative is none. A pipeline with max_out_of_order of at least this drops none of them as late.
	MaxDisorder time.Duration

	// The shares of all records, from 0 to 1, that are repetitions of an earlier record; that are late, by LateBy and up
	// to a half more; that are broken; that have another status than "ok"; and that read -40 °C or less. They
	// must not exceed 1 together. [DefaultMix] sets usual ones.
	DuplicateRate, LateRate, BrokenRate, StatusRate, ColdRate float64

	// LateBy must exceed the pipeline's max_out_of_order + allowed_lateness + window + MaxDisorder for a late record to
	// be late whatever its place in its window; default 90 seconds. There are no late records in the first 1.5·LateBy of
	// the stream, as nothing can be late there. The truth counts those that are late, whatever was meant.
	LateBy time.Duration

	// Padding is the length of a text in one more column, "note", that pipelines have to pass over. Default none.
	Padding int

	// Broken lists the kinds of broken records to make; default all. HugeSize is the size in bytes of a Huge one, 1 MiB
	// + 64 KiB by default: more than the 1 MiB a pipeline takes.
	Broken   []Broken
	HugeSize int
}

// DefaultMix returns c with the shares of the demo: 1 % duplicates, 0.5 % late, 0.2 % broken, 1 % with another
// status, 0.5 % too cold.
func (c SensorsConfig) DefaultMix() SensorsConfig {
	c.DuplicateRate, c.LateRate, c.BrokenRate, c.StatusRate, c.ColdRate = 0.01, 0.005, 0.002, 0.01, 0.005
	return c
}

func (c SensorsConfig) withDefaults() SensorsConfig {
	if c.Events == 0 {
		c.Events = 1_000_000
	}
	if c.Devices == 0 {
		c.Devices = 1000
	}
	if c.Sites == 0 {
		c.Sites = 20
	}
	if c.NumPartitions == 0 {
		c.NumPartitions = 8
	}
	if c.Start.IsZero() {
		c.Start = time.UnixMilli(1_700_000_000_000)
	}
	if c.Span == 0 {
		c.Span = 10 * time.Minute
	}
	if c.MaxDisorder == 0 {
		c.MaxDisorder = 2 * time.Second
	}
	if c.LateBy == 0 {
		c.LateBy = 90 * time.Second
	}
	if len(c.Broken) == 0 {
		c.Broken = BrokenKinds()
	}
	if c.HugeSize == 0 {
		c.HugeSize = 1<<20 + 1<<16
	}
	return c
}

// Validate finds what no stream can be made of.
func (c SensorsConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Events < 0 || c.Devices < 0 || c.Sites < 0 || c.NumPartitions < 0:
		return errors.New("events, devices, sites and partitions must not be negative")
	case c.Devices > 10_000_000 || c.NumPartitions > 100_000:
		return errors.New("at most 10,000,000 devices and 100,000 partitions")
	case c.Span < time.Millisecond || c.LateBy < time.Millisecond:
		return errors.New("the span and what late records are late by must be at least a millisecond")
	case c.Start.UnixMilli() < 0 || c.Start.Year() > 2200 || c.Span > 50*365*24*time.Hour:
		return errors.New("the stream must start in the years 1970 to 2200 and span 50 years at most")
	case c.Padding < 0 || c.Padding > 64<<10:
		return errors.New("a note has 0 to 65,536 bytes")
	case c.HugeSize < 256 || c.HugeSize > maxHuge:
		return fmt.Errorf("a huge record has 256 to %d bytes", maxHuge)
	}
	sum := 0.0
	for _, rate := range []float64{c.DuplicateRate, c.LateRate, c.BrokenRate, c.StatusRate, c.ColdRate} {
		if !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("a share of %v of the records: it must be from 0 to 1", rate)
		}
		sum += rate
	}
	if sum > 1 {
		return fmt.Errorf("the shares of the records add up to %v: more than all", sum)
	}
	for _, kind := range c.Broken {
		if !slices.Contains(BrokenKinds(), kind) {
			return fmt.Errorf("there is no broken kind %d", kind)
		}
	}
	return nil
}

// SensorsGen generates readings; see [Sensors].
type SensorsGen struct {
	cfg                       SensorsConfig
	dice                      dice
	edges                     [5]float64 // cumulative shares: duplicate, late, broken, status, cold
	start, span, late, jitter int64      // milliseconds
	small                     []Broken   // the kinds to make, without Huge

	done    int64
	offsets []int64
	recent  []Record // ring of good records that may be repeated
	made    int      // good records so far
	scratch Record
}

// repeatable is how many of the latest records a duplicate may repeat.
const repeatable = 64

// Sensors makes a generator of readings such as
//
//	{"device":"d0042","site":"s02","ts":1700000000123,"temp":21.37,"status":"ok","seq":12345,"fw":"2.14.1","battery":3.71}
//
// about 120 bytes long, with the device as key. ts is the event time in milliseconds since 1970, temp is in °C with
// two decimals, seq numbers the records; fw and battery are for a decoder to pass over. Record i stands at
// Start + Span·i/Events, less a random part of MaxDisorder; its Kafka timestamp is without that part, and stays
// where it is for late records.
func Sensors(cfg SensorsConfig) (*SensorsGen, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("make a sensor stream: %w", err)
	}
	cfg = cfg.withDefaults()
	g := &SensorsGen{
		cfg: cfg, dice: newDice(cfg.Seed, 0x5e4507),
		start: cfg.Start.UnixMilli(), span: cfg.Span.Milliseconds(),
		late: cfg.LateBy.Milliseconds(), jitter: max(0, cfg.MaxDisorder.Milliseconds()),
		small:   slices.DeleteFunc(slices.Clone(cfg.Broken), func(k Broken) bool { return k == Huge }),
		offsets: make([]int64, cfg.NumPartitions),
	}
	edge := 0.0
	for i, rate := range []float64{cfg.DuplicateRate, cfg.LateRate, cfg.BrokenRate, cfg.StatusRate, cfg.ColdRate} {
		edge += rate
		g.edges[i] = edge
	}
	return g, nil
}

// Partitions implements [Generator].
func (g *SensorsGen) Partitions() int32 { return g.cfg.NumPartitions }

// Err implements [Generator]; it is nil.
func (g *SensorsGen) Err() error { return nil }

// Config is the configuration with its defaults filled in.
func (g *SensorsGen) Config() SensorsConfig { return g.cfg }

// Next implements [Generator].
func (g *SensorsGen) Next(r *Record) bool {
	if g.done >= g.cfg.Events {
		return false
	}
	nominal := g.start + share(g.span, g.done, g.cfg.Events)
	draw := g.dice.unit()
	switch e := &g.edges; {
	case draw < e[0] && g.made > 0:
		g.repeat(r)
	case draw >= e[1] && draw < e[2]:
		g.breakRecord(r, nominal)
	default:
		g.good(r, nominal, draw)
	}
	r.Offset = g.offsets[r.Partition]
	g.offsets[r.Partition]++
	g.done++
	return true
}

// good makes a record that decodes, and remembers it.
func (g *SensorsGen) good(r *Record, nominal int64, draw float64) {
	m := g.measure(nominal)
	switch e := &g.edges; {
	case draw >= e[0] && draw < e[1]:
		if behind := g.late + g.dice.between(0, g.late/2); nominal-behind >= g.start {
			m.ts = nominal - behind
		}
	case draw >= e[2] && draw < e[3]:
		m.status = "fault"
		if g.dice.below(2) == 0 {
			m.status = "stale"
		}
	case draw >= e[3] && draw < e[4]:
		// A probe that came loose reads the end of its scale. -40.00 itself is too cold by a hair: "> -40".
		m.temp = -4000 - g.dice.between(0, 3)*500
	}
	g.write(r, m, nominal)
	if g.cfg.DuplicateRate > 0 {
		if len(g.recent) < repeatable {
			g.recent = append(g.recent, Record{})
		}
		copyRecord(&g.recent[g.made%repeatable], r)
	}
	g.made++
}

func (g *SensorsGen) repeat(r *Record) {
	copyRecord(r, &g.recent[g.dice.below(uint64(len(g.recent)))])
}

func copyRecord(to, from *Record) {
	to.Partition, to.Time = from.Partition, from.Time
	to.Key, to.Value = append(to.Key[:0], from.Key...), append(to.Value[:0], from.Value...)
}

// measurement is what a device says. Temperature and voltage are in hundredths.
type measurement struct {
	device, ts, temp, battery, seq int64
	status                         string
}

func (g *SensorsGen) measure(nominal int64) measurement {
	device := int64(g.dice.below(uint64(g.cfg.Devices)))
	m := measurement{device: device, ts: max(g.start, nominal-g.dice.between(0, g.jitter)), seq: g.done, status: "ok"}
	// Each device has a level of its own, a slow swing of 4 degrees over five minutes, and noise.
	level := 1500 + device*7919%2000
	swing := m.ts % 300_000 * 800 / 300_000
	if swing > 400 {
		swing = 800 - swing
	}
	m.temp = level + swing + g.dice.between(-50, 50)
	m.battery = 420 - (m.ts/60_000+device)%90
	return m
}

func (g *SensorsGen) write(r *Record, m measurement, time int64) {
	r.Partition = int32(m.device % int64(g.cfg.NumPartitions))
	r.Time = time
	r.Key = appendPadded(append(r.Key[:0], 'd'), m.device, 4)
	v := append(r.Value[:0], `{"device":"d`...)
	v = appendPadded(v, m.device, 4)
	v = append(v, `","site":"s`...)
	v = appendPadded(v, m.device%int64(g.cfg.Sites), 2)
	v = append(v, `","ts":`...)
	v = appendPadded(v, m.ts, 1)
	v = append(v, `,"temp":`...)
	v = appendHundredths(v, m.temp)
	v = append(v, `,"status":"`...)
	v = append(v, m.status...)
	v = append(v, `","seq":`...)
	v = appendPadded(v, m.seq, 1)
	v = append(v, `,"fw":"2.14.1","battery":`...)
	v = appendHundredths(v, m.battery)
	if n := g.cfg.Padding; n > 0 {
		v = append(v, `,"note":"`...)
		for ; n > 0; n-- {
			v = append(v, 'a'+byte(n*7%26))
		}
		v = append(v, '"')
	}
	r.Value = append(v, '}')
}
