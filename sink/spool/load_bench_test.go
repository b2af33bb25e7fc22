package spool

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

// BenchmarkLoad reads what a restart reads: a lane of 20,000 rows of about 400 bytes.
func BenchmarkLoad(b *testing.B) {
	cfg := Config{Dir: filepath.Join(b.TempDir(), "store"), Reserve: 1 << 20}
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	lane := s.Lane(ID{Pipeline: "line-temperature"}, &table)
	const rows, cut = 20_000, 1000
	last := make([]byte, 320)
	for at := 0; at < rows; at += cut {
		groups := make([]group, cut)
		for i := range groups {
			groups[i] = group{start: 10_000, end: 20_000, rows: 1, device: fmt.Sprintf("device-%d", at+i), n: uint64(i), low: 1.5, any: true, last: last}
		}
		ch := lane.change()
		rows := rowsOf(groups)
		ch.Put(rows, batch.Hashes(rows), nil)
		if err := ch.Commit([]byte("meta")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		l := s.Lane(ID{Pipeline: "line-temperature"}, &table)
		n := 0
		_, err := l.Load(func(_ []byte, rows *batch.Batch, _ []uint64) error { n += rows.Rows; return nil })
		if err != nil || n != rows {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

// BenchmarkReplace saves 2,000 of 20,000 rows at a time, as a lane does with every cut: most replace one.
func BenchmarkReplace(b *testing.B) {
	s, err := Open(Config{Dir: filepath.Join(b.TempDir(), "store"), Reserve: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	lane := s.Lane(ID{Pipeline: "line-temperature"}, &table)
	const rows, cut = 20_000, 2000
	var took time.Duration // of Put alone
	rng := rand.New(rand.NewPCG(1, 2))
	saved := ledger{}
	for b.Loop() {
		groups := make([]group, cut)
		for i, device := range rng.Perm(rows)[:cut] {
			groups[i] = group{start: 10_000, end: 20_000, rows: 1, device: fmt.Sprintf("device-%d", device), n: uint64(i), low: 1.5, any: true, last: []byte("x")}
		}
		change := rowsOf(groups)
		hashes, before := saved.replace(groups, change)
		ch := lane.change()
		began := time.Now()
		ch.Put(change, hashes, before)
		took += time.Since(began)
		if err := ch.Commit([]byte("meta")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/cut, "ns/row")
}
