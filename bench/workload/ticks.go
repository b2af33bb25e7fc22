package workload

import (
	"errors"
	"fmt"
	"time"
)

// TicksConfig describes a stream of trades. The zero value of a field means its default.
type TicksConfig struct {
	Seed    uint64
	Events  int64 // default 100,000
	Symbols int   // default 12, which is all there are

	// NumPartitions is 4 by default. All trades of a symbol are in one partition.
	NumPartitions int32

	// Start is the event time of the first trade, 2023-11-14T14:30:00Z by default. Span is the event time the stream
	// covers, 30 minutes by default.
	Start time.Time
	Span  time.Duration

	// MaxDisorder is how far, at most, a trade's time lies behind the stream. Default 500 ms; negative is none.
	MaxDisorder time.Duration
}

func (c TicksConfig) withDefaults() TicksConfig {
	if c.Events == 0 {
		c.Events = 100_000
	}
	if c.Symbols == 0 {
		c.Symbols = len(symbols)
	}
	if c.NumPartitions == 0 {
		c.NumPartitions = 4
	}
	if c.Start.IsZero() {
		c.Start = time.Unix(1_699_972_200, 0)
	}
	if c.Span == 0 {
		c.Span = 30 * time.Minute
	}
	if c.MaxDisorder == 0 {
		c.MaxDisorder = 500 * time.Millisecond
	}
	return c
}

// Validate finds what no stream can be made of.
func (c TicksConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Events < 0 || c.NumPartitions < 0 || c.NumPartitions > 100_000:
		return errors.New("events must not be negative, and partitions be 1 to 100,000")
	case c.Symbols < 1 || c.Symbols > len(symbols):
		return fmt.Errorf("there are 1 to %d symbols", len(symbols))
	case c.Start.Unix() < 0 || c.Start.Year() > 2200 || c.Span < time.Millisecond || c.Span > 50*365*24*time.Hour:
		return errors.New("the stream must start in the years 1970 to 2200 and span a millisecond to 50 years")
	}
	return nil
}

// symbols are made up.
var symbols = [...]string{
	"ACRE", "BOLT", "CRUX", "DUNE", "FERN", "GLYF", "HELM", "KELP", "LUMA", "ONYX", "PYRE", "TARN",
}

// TicksGen generates trades; see [Ticks].
type TicksGen struct {
	cfg                 TicksConfig
	dice                dice
	start, span, jitter int64 // microseconds
	done                int64
	offsets             []int64
	prices              []int64 // cents
}

// Ticks makes a generator of trades such as
//
//	{"symbol":"KELP","ts":1699972200123456,"trade":{"price":101.25,"volume":300}}
//
// with the symbol as key. ts is in microseconds since 1970; the price takes a random walk of whole cents, and never
// falls below 1.00; the volume is a whole number of hundreds.
func Ticks(cfg TicksConfig) (*TicksGen, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("make a stream of trades: %w", err)
	}
	cfg = cfg.withDefaults()
	g := &TicksGen{
		cfg: cfg, dice: newDice(cfg.Seed, 0x71c45),
		start: cfg.Start.UnixMicro(), span: cfg.Span.Microseconds(), jitter: max(0, cfg.MaxDisorder.Microseconds()),
		offsets: make([]int64, cfg.NumPartitions), prices: make([]int64, cfg.Symbols),
	}
	for i := range g.prices {
		g.prices[i] = g.dice.between(20_00, 400_00)
	}
	return g, nil
}

// Partitions implements [Generator].
func (g *TicksGen) Partitions() int32 { return g.cfg.NumPartitions }

// Err implements [Generator]; it is nil.
func (g *TicksGen) Err() error { return nil }

// Next implements [Generator].
func (g *TicksGen) Next(r *Record) bool {
	if g.done >= g.cfg.Events {
		return false
	}
	nominal := g.start + share(g.span, g.done, g.cfg.Events)
	s := g.dice.below(uint64(len(g.prices)))
	price := max(1_00, g.prices[s]+g.dice.between(-12, 12))
	g.prices[s] = price

	r.Partition = int32(s % uint64(g.cfg.NumPartitions))
	r.Offset = g.offsets[r.Partition]
	r.Time = nominal / 1000
	r.Key = append(r.Key[:0], symbols[s]...)
	v := append(r.Value[:0], `{"symbol":"`...)
	v = append(v, symbols[s]...)
	v = append(v, `","ts":`...)
	v = appendPadded(v, max(g.start, nominal-g.dice.between(0, g.jitter)), 1)
	v = append(v, `,"trade":{"price":`...)
	v = appendHundredths(v, price)
	v = append(v, `,"volume":`...)
	v = appendPadded(v, 100*g.dice.between(1, 50), 1)
	r.Value = append(v, "}}"...)
	g.offsets[r.Partition]++
	g.done++
	return true
}
