package workload

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// NexmarkConfig describes the stream of an auction site. The zero value of a field means its default.
type NexmarkConfig struct {
	Seed          uint64
	Events        int64 // default 1,000,000
	NumPartitions int32 // default 8
	// Start is the time of the first event, 2023-11-14T22:13:20Z by default, Span the time from it to the last, 10 minutes by default.
	Start time.Time
	Span  time.Duration
	// Disorder is how far an event may be behind the ones before it, at most. Default a second; negative is none.
	Disorder time.Duration
}

// The proportions of the public definition: of 50 events in a row, 1 is a person, 3 are auctions, 46 are bids.
const (
	nexmarkPersons  = 1
	nexmarkAuctions = 3
	nexmarkRound    = 50

	nexmarkFirst      = 1000 // the first ID of persons and auctions, and categories begin at 10
	nexmarkCategories = 5
	nexmarkActive     = 1000 // persons that bid and sell, at most: the latest
	nexmarkInFlight   = 100  // auctions that are bid on, at most: the latest
	nexmarkHotAuction = 2    // one bid in so many is not on the hot auction
	nexmarkHotSeller  = 4
	nexmarkHotBidder  = 4
	nexmarkHotRatio   = 100 // persons and auctions to one that is hot
)

// The kinds of events, as event_type has them.
const (
	nexmarkPerson = iota
	nexmarkAuction
	nexmarkBid
)

var (
	nexmarkFirstNames = [...]string{"Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"}
	nexmarkLastNames  = [...]string{"Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"}
	nexmarkCities     = [...]string{"Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"}
	nexmarkStates     = [...]string{"AZ", "CA", "CA", "ID", "OR", "OR", "WA", "WA", "WA", "WY"}
	nexmarkChannels   = [...]string{"Google", "Facebook", "Baidu", "Apple"}
)

// NexmarkGen generates events of an auction site; see [Nexmark].
type NexmarkGen struct {
	cfg     NexmarkConfig
	dice    dice
	done    int64
	offsets []int64
}

// Nexmark makes a generator of the three streams of the Nexmark benchmark in one topic, one JSON object each:
//
//	{"event_type":0,"person":{"id":…,"name":…,"emailAddress":…,"creditCard":…,"city":…,"state":…,"dateTime":…,"extra":…}}
//	{"event_type":1,"auction":{"id":…,"itemName":…,"description":…,"initialBid":…,"reserve":…,"dateTime":…,"expires":…,"seller":…,"category":…,"extra":…}}
//	{"event_type":2,"bid":{"auction":…,"bidder":…,"price":…,"channel":…,"url":…,"dateTime":…,"extra":…}}
//
// The names, the proportions of 1:3:46, the IDs from 1000 on, the hot auctions, sellers and bidders (half of the bids are on one
// auction in a hundred, three quarters of the bids and of the auctions are by one person in a hundred) and prices that spread evenly over their
// magnitudes follow the public definition: N. Tucker and others, "NEXMark: a benchmark for queries over data streams", 2008, and
// its generator in Apache Beam, https://beam.apache.org/documentation/sdks/java/testing/nexmark/. The numbers are drawn by an
// algorithm of our own, so events are not those of other implementations, and extra is empty. Times are milliseconds since 1970, and
// the record's timestamp is the event's.
//
// Records have no key: event n is in partition n mod NumPartitions.
func Nexmark(cfg NexmarkConfig) (*NexmarkGen, error) {
	cfg.Events = cmp.Or(cfg.Events, 1_000_000)
	cfg.NumPartitions = cmp.Or(cfg.NumPartitions, 8)
	cfg.Span = cmp.Or(cfg.Span, 10*time.Minute)
	cfg.Disorder = max(0, cmp.Or(cfg.Disorder, time.Second))
	if cfg.Start.IsZero() {
		cfg.Start = time.UnixMilli(1_700_000_000_000)
	}
	if cfg.Events < 0 || cfg.NumPartitions < 0 || cfg.NumPartitions > 100_000 || cfg.Span < time.Millisecond || cfg.Start.UnixMilli() < 0 {
		return nil, fmt.Errorf("make a stream of auctions: events and partitions must not be negative, and the span at least a millisecond: %+v", cfg)
	}
	return &NexmarkGen{cfg: cfg, dice: newDice(cfg.Seed, 0x0a0c7), offsets: make([]int64, cfg.NumPartitions)}, nil
}

// Partitions implements [Generator].
func (g *NexmarkGen) Partitions() int32 { return g.cfg.NumPartitions }

// Err implements [Generator]; it is nil.
func (g *NexmarkGen) Err() error { return nil }

// nexmarkPersonsBefore is how many persons there are before event n.
func nexmarkPersonsBefore(n int64) int64 {
	return n/nexmarkRound*nexmarkPersons + min(n%nexmarkRound, nexmarkPersons)
}

// nexmarkAuctionsBefore is how many auctions there are before event n.
func nexmarkAuctionsBefore(n int64) int64 {
	return n/nexmarkRound*nexmarkAuctions + min(max(n%nexmarkRound-nexmarkPersons, 0), nexmarkAuctions)
}

// Next implements [Generator].
func (g *NexmarkGen) Next(r *Record) bool {
	if g.done >= g.cfg.Events {
		return false
	}
	n := g.done
	nominal := g.cfg.Start.UnixMilli() + share(g.cfg.Span.Milliseconds(), n, g.cfg.Events)
	at := max(g.cfg.Start.UnixMilli(), nominal-g.dice.between(0, g.cfg.Disorder.Milliseconds()))
	r.Partition = int32(n % int64(g.cfg.NumPartitions))
	r.Offset = g.offsets[r.Partition]
	r.Time = at
	r.Key = r.Key[:0]
	switch in := n % nexmarkRound; {
	case in < nexmarkPersons:
		r.Value = g.person(r.Value[:0], n, at)
	case in < nexmarkPersons+nexmarkAuctions:
		r.Value = g.auction(r.Value[:0], n, at)
	default:
		r.Value = g.bid(r.Value[:0], n, at)
	}
	g.offsets[r.Partition]++
	g.done++
	return true
}

func (g *NexmarkGen) person(v []byte, n, at int64) []byte {
	first, last, city := g.pick(len(nexmarkFirstNames)), g.pick(len(nexmarkLastNames)), g.pick(len(nexmarkCities))
	v = strconv.AppendInt(append(v, `{"event_type":0,"person":{"id":`...), nexmarkFirst+nexmarkPersonsBefore(n), 10)
	v = append(append(append(append(v, `,"name":"`...), nexmarkFirstNames[first]...), ' '), nexmarkLastNames[last]...)
	v = append(append(append(v, `","emailAddress":"`...), nexmarkFirstNames[first]...), '@')
	v = appendPadded(v, g.dice.between(0, 9999), 4)
	v = append(v, `.com","creditCard":"`...)
	for i := range 4 {
		if i > 0 {
			v = append(v, ' ')
		}
		v = appendPadded(v, g.dice.between(0, 9999), 4)
	}
	v = append(append(append(v, `","city":"`...), nexmarkCities[city]...), `","state":"`...)
	return g.end(append(append(v, nexmarkStates[city]...), '"'), at)
}

func (g *NexmarkGen) auction(v []byte, n, at int64) []byte {
	price := g.price()
	v = strconv.AppendInt(append(v, `{"event_type":1,"auction":{"id":`...), nexmarkFirst+nexmarkAuctionsBefore(n), 10)
	v = appendPadded(append(v, `,"itemName":"item `...), g.dice.between(0, 99_999), 5)
	v = appendPadded(append(v, `","description":"lot `...), g.dice.between(0, 999_999), 6)
	v = strconv.AppendInt(append(v, `","initialBid":`...), price, 10)
	v = strconv.AppendInt(append(v, `,"reserve":`...), price+g.price(), 10)
	v = strconv.AppendInt(append(v, `,"expires":`...), at+g.dice.between(1_000, 20_000), 10)
	v = strconv.AppendInt(append(v, `,"seller":`...), g.someone(n, nexmarkHotSeller), 10)
	return g.end(strconv.AppendInt(append(v, `,"category":`...), 10+g.dice.between(0, nexmarkCategories-1), 10), at)
}

func (g *NexmarkGen) bid(v []byte, n, at int64) []byte {
	newest := nexmarkAuctionsBefore(n) - 1
	auction := newest / nexmarkHotRatio * nexmarkHotRatio
	if g.dice.below(nexmarkHotAuction) == 0 {
		auction = g.dice.between(max(0, newest-nexmarkInFlight), newest)
	}
	channel := nexmarkChannels[g.pick(len(nexmarkChannels))]
	v = strconv.AppendInt(append(v, `{"event_type":2,"bid":{"auction":`...), nexmarkFirst+auction, 10)
	v = strconv.AppendInt(append(v, `,"bidder":`...), g.someone(n, nexmarkHotBidder), 10)
	v = strconv.AppendInt(append(v, `,"price":`...), g.price(), 10)
	v = append(append(append(v, `,"channel":"`...), channel...), `","url":"https://www.nexmark.com/`...)
	v = append(append(append(v, channel...), "/item.htm?query=1&channel_id="...), '0')
	return g.end(append(v, '"'), at)
}

// end ends an object with what all have.
func (g *NexmarkGen) end(v []byte, at int64) []byte {
	return append(strconv.AppendInt(append(v, `,"dateTime":`...), at, 10), `,"extra":""}}`...)
}

// someone is the hot person, or one of the latest in one case of so many.
func (g *NexmarkGen) someone(n int64, ratio uint64) int64 {
	newest := nexmarkPersonsBefore(n) - 1
	if g.dice.below(ratio) > 0 {
		return nexmarkFirst + newest/nexmarkHotRatio*nexmarkHotRatio
	}
	return nexmarkFirst + g.dice.between(max(0, newest-nexmarkActive), newest)
}

// price is in cents: as many have three digits as have four.
func (g *NexmarkGen) price() int64 {
	low := int64(100)
	for range g.dice.below(6) {
		low *= 10
	}
	return g.dice.between(low, 10*low-1)
}

func (g *NexmarkGen) pick(n int) int { return int(g.dice.below(uint64(n))) }
