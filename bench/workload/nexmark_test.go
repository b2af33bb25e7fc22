package workload

import (
	"encoding/json"
	"testing"
)

// TestNexmark holds the stream to what Nexmark says of it: proportions, IDs that exist by then, and a hot auction.
func TestNexmark(t *testing.T) {
	g, err := Nexmark(NexmarkConfig{Seed: 1, Events: 100_000, NumPartitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	var kinds [3]int
	var persons, auctions, last int64 = nexmarkFirst, nexmarkFirst, 0
	bids := map[int64]int{}
	for r := (Record{}); g.Next(&r); {
		var e nexmarkEvent
		if err := json.Unmarshal(r.Value, &e); err != nil || e.EventType == nil || *e.EventType < 0 || *e.EventType > 2 {
			t.Fatalf("%s: %v", r.Value, err)
		}
		kinds[*e.EventType]++
		var at *int64
		switch {
		case e.Person != nil && *e.EventType == nexmarkPerson:
			if at = e.Person.DateTime; *e.Person.ID != persons {
				t.Fatalf("person %d comes after %d", *e.Person.ID, persons-1)
			}
			persons++
		case e.Auction != nil && *e.EventType == nexmarkAuction:
			if at = e.Auction.DateTime; *e.Auction.Seller < nexmarkFirst || *e.Auction.Seller >= persons {
				t.Fatalf("person %d sells, and there are %d", *e.Auction.Seller, persons-nexmarkFirst)
			}
			auctions++
		case e.Bid != nil && *e.EventType == nexmarkBid:
			at = e.Bid.DateTime
			if *e.Bid.Auction < nexmarkFirst || *e.Bid.Auction >= auctions || *e.Bid.Bidder < nexmarkFirst || *e.Bid.Bidder >= persons || *e.Bid.Price < 100 || *e.Bid.Price >= 100_000_000 {
				t.Fatalf("%s: there are %d auctions and %d persons", r.Value, auctions-nexmarkFirst, persons-nexmarkFirst)
			}
			bids[*e.Bid.Auction]++
		}
		if at == nil || *at != r.Time || *at < last-1000 {
			t.Fatalf("%s: at %d, after %d", r.Value, r.Time, last)
		}
		last = max(last, *at)
	}
	if kinds != [3]int{2000, 6000, 92000} {
		t.Errorf("%d persons, %d auctions, %d bids", kinds[0], kinds[1], kinds[2])
	}
	hot := 0
	for id, n := range bids {
		if (id-nexmarkFirst)%nexmarkHotRatio == 0 {
			hot += n
		}
	}
	if hot < 45_000 || hot > 49_000 {
		t.Errorf("%d of 92000 bids are on hot auctions", hot)
	}
}
