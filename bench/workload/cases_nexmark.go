package workload

import (
	"strconv"
	"time"
)

// nexmarkEvent is an event with what the queries need of it.
type nexmarkEvent struct {
	EventType *int64 `json:"event_type"`
	Person    *struct {
		ID       *int64 `json:"id"`
		DateTime *int64 `json:"dateTime"`
	} `json:"person"`
	Auction *struct {
		Seller   *int64 `json:"seller"`
		DateTime *int64 `json:"dateTime"`
	} `json:"auction"`
	Bid *struct {
		Auction  *int64 `json:"auction"`
		Bidder   *int64 `json:"bidder"`
		Price    *int64 `json:"price"`
		DateTime *int64 `json:"dateTime"`
	} `json:"bid"`
}

// nexmarkBids gives the bids to a query; everything else is filtered.
func nexmarkBids(of func(auction, bidder, price int64) reading) func(*Record) reading {
	return nexmarkRead(func(e *nexmarkEvent) reading {
		if e.Bid == nil {
			return reading{filtered: true}
		}
		row := of(*e.Bid.Auction, *e.Bid.Bidder, *e.Bid.Price)
		row.time = *e.Bid.DateTime * 1000
		return row
	})
}

func nexmarkRead(of func(*nexmarkEvent) reading) func(*Record) reading {
	return func(r *Record) reading {
		var e nexmarkEvent
		if reason := unmarshal(r.Value, &e); reason != "" {
			return reading{reason: reason}
		}
		return of(&e)
	}
}

// nexmarkRules are those of the queries.
var nexmarkRules = Rules{Window: 10 * time.Second, MaxOutOfOrder: 2 * time.Second, AllowedLateness: time.Minute, MaxRecord: 1 << 20}

// nexmarkCase is a query in windows of ten seconds.
func nexmarkCase(query, about, note string, columns Columns, read func(*Record) reading, finish func(total) []float64) Case {
	return nexmarkIn(nexmarkRules, query, about, note, columns, read, finish)
}

// nexmarkIn is a query in windows of some rules.
func nexmarkIn(rules Rules, query, about, note string, columns Columns, read func(*Record) reading, finish func(total) []float64) Case {
	return Case{
		Name: "nexmark-" + query, About: about, Note: note, Events: 1_000_000, Pipeline: pipelineText("nexmark-" + query),
		Stream: func(s Size) (Generator, error) {
			return Nexmark(NexmarkConfig{Seed: s.Seed, Events: s.Events, NumPartitions: s.Partitions, Span: s.Span})
		},
		Truth: func(Size) (Oracle, error) {
			t, err := newTruth(rules, Rules{}, columns, read, finish)
			if err != nil {
				return nil, err
			}
			return t, nil
		},
	}
}

// nexmarkCases are the queries that a pipeline can answer. NEXMARK.md says why the others are not here.
func nexmarkCases() []Case {
	id := func(n int64) [2]string { return [2]string{strconv.FormatInt(n, 10)} }
	sessions := nexmarkRules
	sessions.MaxLength = 24 * time.Hour
	bidders := nexmarkBids(func(_, bidder, price int64) reading {
		return reading{keys: id(bidder), measures: []float64{float64(price)}}
	})
	return []Case{
		nexmarkCase("q0", "Nexmark q0: bids as they are, summed up per 10 s", "the sums stand for the output, which weir does not have row by row",
			Columns{Values: []Value{{"bids", true}, {"price_sum", true}, {"auction_sum", true}, {"bidder_sum", true}}},
			nexmarkBids(func(auction, bidder, price int64) reading {
				return reading{measures: []float64{float64(price), float64(auction), float64(bidder)}}
			}),
			func(t total) []float64 { return []float64{float64(t.rows), t.sum[0], t.sum[1], t.sum[2]} }),
		nexmarkCase("q1", "Nexmark q1: prices in euros, summed up per 10 s", "",
			Columns{Values: []Value{{"bids", true}, {"euros_sum", false}, {"euros_max", true}}},
			nexmarkBids(func(_, _, price int64) reading { return reading{measures: []float64{0.908 * float64(price)}} }),
			func(t total) []float64 { return []float64{float64(t.rows), t.sum[0], t.max[0]} }),
		nexmarkCase("q2", "Nexmark q2: bids on every 123rd auction, per auction and 10 s", "nearly all records are filtered",
			Columns{Keys: []string{"auction"}, Values: []Value{{"bids", true}, {"price_sum", true}}},
			nexmarkBids(func(auction, _, price int64) reading {
				return reading{filtered: auction%123 != 0, keys: id(auction), measures: []float64{float64(price)}}
			}),
			func(t total) []float64 { return []float64{float64(t.rows), t.sum[0]} }),
		nexmarkCase("q5", "Nexmark q5: bids per auction and 10 s; the hottest is a query of the view", "tumbling windows, for hopping ones of which the truth knows nothing",
			Columns{Keys: []string{"auction"}, Values: []Value{{"bids", true}}},
			nexmarkBids(func(auction, _, price int64) reading {
				return reading{keys: id(auction), measures: []float64{float64(price)}}
			}),
			func(t total) []float64 { return []float64{float64(t.rows)} }),
		nexmarkCase("q7", "Nexmark q7: the highest bid of 10 s", "",
			Columns{Values: []Value{{"bids", true}, {"price_max", true}}},
			nexmarkBids(func(_, _, price int64) reading { return reading{measures: []float64{float64(price)}} }),
			func(t total) []float64 { return []float64{float64(t.rows), t.max[0]} }),
		nexmarkCase("q8", "Nexmark q8: who came and sold in the same 10 s", "a join by counting both sides per person; who has both is a query of the view",
			Columns{Keys: []string{"who"}, Values: []Value{{"persons", true}, {"auctions", true}}},
			nexmarkRead(func(e *nexmarkEvent) reading {
				switch {
				case e.Person != nil:
					return reading{time: *e.Person.DateTime * 1000, keys: id(*e.Person.ID), measures: []float64{1, 0}}
				case e.Auction != nil:
					return reading{time: *e.Auction.DateTime * 1000, keys: id(*e.Auction.Seller), measures: []float64{0, 1}}
				}
				return reading{filtered: true}
			}),
			func(t total) []float64 { return []float64{t.sum[0], t.sum[1]} }),
		nexmarkIn(sessions, "q11", "Nexmark q11: bids of a bidder until 10 s pass without one", "sessions, which the view joins where they are of several partitions",
			Columns{Keys: []string{"bidder"}, Values: []Value{{"bids", true}, {"price_sum", true}}}, bidders,
			func(t total) []float64 { return []float64{float64(t.rows), t.sum[0]} }),
		nexmarkCase("q12", "Nexmark q12: bids per bidder and 10 s", "windows of event time, for those by the clock of the machine",
			Columns{Keys: []string{"bidder"}, Values: []Value{{"bids", true}}}, bidders,
			func(t total) []float64 { return []float64{float64(t.rows)} }),
	}
}
