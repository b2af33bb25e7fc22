package window

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/operators/calendar"
)

// TestCalendar counts rows by the date that their moment has in the zone, over a change of clocks, and compares. The window is saved
// and loaded half-way.
func TestCalendar(t *testing.T) {
	for _, c := range []struct {
		unit   calendar.Unit
		zone   string
		layout string // names the unit
	}{
		{calendar.Day, "Europe/Berlin", time.DateOnly},
		{calendar.Day, "America/Sao_Paulo", time.DateOnly},
		{calendar.Month, "Australia/Lord_Howe", "2006-01"},
		{calendar.Week, "Asia/Kathmandu", ""},
	} {
		zone, err := calendar.LoadZone(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		location, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Skip("the machine has no time zones to compare with:", err)
		}
		cfg := testConfig(t)
		cfg.Size, cfg.Calendar = 0, &calendar.Calendar{Unit: c.unit, Zone: zone}
		cfg.MaxOutOfOrder = 100 * 24 * time.Hour
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, uint64(c.unit)))
		want := map[string]uint64{}
		name := func(ms int64) string {
			at := time.UnixMilli(ms).In(location)
			if c.layout == "" {
				year, week := at.ISOWeek()
				return fmt.Sprint(year, " ", week)
			}
			return at.Format(c.layout)
		}
		w := New(cfg)
		begin := time.Date(2018, 10, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		for i := range 40 {
			rows := make([]row, 50)
			for j := range rows {
				rows[j] = row{ts: begin + rng.Int64N(50*24*3600*1000), device: "d"}
				want[name(rows[j].ts)]++
			}
			b := makeBatch(cfg.In, rows, int64(50*i))
			if _, err := w.Add(t.Context(), b, int64(50*i)); err != nil {
				t.Fatal(err)
			}
			if i == 20 {
				cut, clock := w.Cut(int64(50*i+50)), w.Clock()
				w = New(cfg)
				w.Restore(clock, operators.Clock{Max: operators.Unset})
				if err := w.Load(cut.Rows, cut.Hashes, cut.Open); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.Touch()
		cut := w.Cut(2000)
		if cut.Rows.Rows != len(want) {
			t.Errorf("%s of %s: %d windows, want %d", c.unit, c.zone, cut.Rows.Rows, len(want))
		}
		int64At := func(column, i int) int64 { return batch.As[int64](cut.Rows.Cols[column].Values)[i] }
		for i := range cut.Rows.Rows {
			start, end, n := int64At(0, i), int64At(1, i), uint64(int64At(2, i))
			if name(start) != name(end-1) || n != want[name(start)] {
				t.Errorf("%s of %s: %d rows from %s to %s, want %d", c.unit, c.zone, n, time.UnixMilli(start).In(location), time.UnixMilli(end).In(location), want[name(start)])
			}
		}
	}
}
