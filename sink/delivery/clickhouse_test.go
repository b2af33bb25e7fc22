package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
	"github.com/weir-stream/weir/sink/delivery"
)

// rig is a delivery to ClickHouse through a proxy.
type rig struct {
	t        *testing.T
	proxy    *proxy
	sink     *clickhouse.Sink
	delivery *delivery.Delivery
	conn     driver.Conn // of the test's own, past the proxy
}

var table = sink.Table{
	Site: "s", Node: "n", Pipeline: "p", Window: 10 * time.Second,
	Keys: []batch.Field{{Name: "device", Type: batch.Type{Kind: batch.String}}},
	Aggregates: []sink.Aggregate{{Name: "readings", Type: batch.Type{Kind: batch.Uint64}, States: []sink.State{
		{Field: batch.Field{Name: "readings", Type: batch.Type{Kind: batch.Uint64}}},
	}}},
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dsn := embeddedtest.ClickHouse(t)
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, proxy: newProxy(t, u.Host)}
	opt, err := chgo.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if r.conn, err = chgo.Open(opt); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.conn.Close() })
	u.Host = r.proxy.listener.Addr().String()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r.sink, err = clickhouse.New(clickhouse.Config{
		URL: u.String(), Table: "t", DialTimeout: time.Second, InsertTimeout: 5 * time.Second,
	}, table, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.sink.Close() })
	if err := r.sink.Apply(r.ctx(), nil); err != nil {
		t.Fatal(err)
	}
	r.delivery, err = delivery.New(delivery.Config{
		MinBackoff: time.Millisecond, MaxBackoff: 50 * time.Millisecond, StopBackoff: 50 * time.Millisecond, Gather: time.Millisecond,
	}, r.sink, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.delivery.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return r
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) exec(sql string) {
	r.t.Helper()
	if err := r.conn.Exec(r.ctx(), sql); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// lane is a partition that counts readings of devices, like a window does.
type lane struct {
	partition int32
	offset    int64
	counts    map[string]uint64
	dirty     map[string]bool
}

func newLane(p int32) *lane {
	return &lane{partition: p, counts: map[string]uint64{}, dirty: map[string]bool{}}
}

// read takes n records.
func (l *lane) read(n int) {
	for range n {
		d := fmt.Sprintf("%016x%016x", rand.Uint64()%300, 0)
		l.counts[d]++
		l.dirty[d] = true
	}
	l.offset += int64(n)
}

// cut ships what changed.
func (l *lane) cut() *sink.Cut {
	schema := table.Schema()
	n := len(l.dirty)
	starts, ends, counts, offsets := make([]int64, 0, n), make([]int64, 0, n), make([]uint64, 0, n), []int32{0}
	var devices []byte
	for d := range l.dirty {
		starts, ends = append(starts, 1_700_000_000_000), append(ends, 1_700_000_010_000)
		counts = append(counts, l.counts[d])
		devices = append(devices, d...)
		offsets = append(offsets, int32(len(devices)))
	}
	clear(l.dirty)
	b := &batch.Batch{Schema: schema, Rows: n}
	b.SetWidth(5)
	b.Cols[0].Values, b.Cols[1].Values, b.Cols[2].Values = batch.Bytes(starts), batch.Bytes(ends), batch.Bytes(counts)
	b.Cols[3].Offsets, b.Cols[3].Values = batch.Bytes(offsets), devices
	b.Cols[4].Values = batch.Bytes(counts)
	return &sink.Cut{Rows: b, Coverage: sink.Coverage{
		Partition: batch.Partition{Topic: "t", ID: l.partition}, Version: l.offset, Watermark: sink.MinWatermark, Final: sink.MinWatermark,
		Counters: sink.Counters{RecordsIn: l.offset, Aggregated: l.offset},
	}}
}

func (r *rig) submit(c *sink.Cut) <-chan error {
	r.t.Helper()
	done := make(chan error, 1)
	if err := r.delivery.Submit(r.ctx(), c, func(err error) { done <- err }); err != nil {
		r.t.Fatal(err)
	}
	return done
}

// wantExact compares every total with the lanes', and asks the audit.
func (r *rig) wantExact(lanes ...*lane) {
	r.t.Helper()
	want := map[string]uint64{}
	for _, l := range lanes {
		for d, n := range l.counts {
			want[d] += n
		}
	}
	rows, err := r.conn.Query(r.ctx(), "SELECT device, readings FROM t")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var d string
		var got uint64
		if err := rows.Scan(&d, &got); err != nil {
			r.t.Fatal(err)
		}
		if got != want[d] {
			r.t.Errorf("%s has %d readings, want %d", d, got, want[d])
		}
		n++
	}
	if n != len(want) {
		r.t.Errorf("%d devices, want %d", n, len(want))
	}
	report, err := r.sink.Audit(r.ctx())
	if err != nil {
		r.t.Fatal(err)
	}
	if !report.OK {
		r.t.Errorf("audit: %+v", report.Partitions)
	}
}

// The server stores an insert and the node never hears of it: it sends again, and nothing counts twice.
func TestAcknowledgementIsLost(t *testing.T) {
	r := newRig(t)
	l := newLane(0)
	for range 3 {
		l.read(1000)
		r.proxy.loseAcks(3)
		if err := <-r.submit(l.cut()); err != nil {
			t.Fatal(err)
		}
		r.proxy.heal()
	}
	if n := r.proxy.cuts.Load(); n != 9 {
		t.Errorf("%d acknowledgements were lost, want 9: the test does not test", n)
	}
	r.wantExact(l)
	// Without tokens too: they are not what makes it right.
	r.exec("ALTER TABLE t_partials MODIFY SETTING non_replicated_deduplication_window = 0")
	r.exec("ALTER TABLE weir_coverage MODIFY SETTING non_replicated_deduplication_window = 0")
	l.read(1000)
	r.proxy.loseAcks(3)
	if err := <-r.submit(l.cut()); err != nil {
		t.Fatal(err)
	}
	r.wantExact(l)
}

// Three in a hundred packets end their connection, while four partitions ship.
func TestBadLine(t *testing.T) {
	r := newRig(t)
	r.proxy.loseSome(0.03)
	lanes := []*lane{newLane(0), newLane(1), newLane(2), newLane(3)}
	var wg sync.WaitGroup
	for _, l := range lanes {
		wg.Go(func() {
			for range 15 {
				l.read(200)
				if err := <-r.submit(l.cut()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.proxy.heal()
	if r.proxy.cuts.Load() == 0 {
		t.Error("nothing was cut: the test does not test")
	}
	r.wantExact(lanes...)
}

func TestServerGoesAndComesBack(t *testing.T) {
	r := newRig(t)
	l := newLane(0)
	l.read(100)
	if err := <-r.submit(l.cut()); err != nil {
		t.Fatal(err)
	}
	r.proxy.refuse.Store(true)
	r.proxy.hangUp()
	l.read(100)
	done := r.submit(l.cut())
	ctx, cancel := context.WithTimeout(r.ctx(), 300*time.Millisecond)
	defer cancel()
	if err := r.delivery.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush while it is gone: %v", err)
	}
	if s := r.delivery.Status(); s.Class != sink.Retry || s.Err == nil || s.Pending != 1 || !s.Ready {
		t.Errorf("status %+v", s)
	}
	r.proxy.refuse.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := r.delivery.Status(); s.Err != nil {
		t.Errorf("status %+v", s)
	}
	r.wantExact(l)
}

// A table that is dropped needs a person; delivery waits for him and goes on.
func TestTableIsDroppedAndMadeAgain(t *testing.T) {
	r := newRig(t)
	l := newLane(0)
	r.exec("DROP TABLE t_partials SYNC")
	l.read(100)
	done := r.submit(l.cut())
	deadline := time.Now().Add(10 * time.Second)
	for r.delivery.Status().Ready && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	s := r.delivery.Status()
	var schema *sink.SchemaError
	if s.Ready || s.Class != sink.Stop || !errors.As(s.Err, &schema) || len(schema.DDL) != 1 {
		t.Fatalf("status %+v", s)
	}
	if !strings.Contains(schema.DDL[0], "t_partials") {
		t.Errorf("it says to run %s", schema.DDL[0])
	}
	r.exec(schema.DDL[0])
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.wantExact(l)
	if n := r.delivery.Snapshot().Failures[sink.Stop]; n == 0 {
		t.Error("no failure was counted")
	}
}
