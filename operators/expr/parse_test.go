package expr

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
)

func TestParseTime(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for range 20000 {
		want := time.Unix(r.Int64N(253402300799+62167219200)-62167219200+86400, r.Int64N(1e9)).UTC()
		if want.Year() > 9998 {
			continue
		}
		zone := time.FixedZone("", (r.IntN(2*14*60)-14*60)*60)
		text := want.In(zone).Format(time.RFC3339Nano)
		if want.In(zone).Year() < 0 {
			continue
		}
		sec, nsec, _, ok := parseTime([]byte(text))
		if !ok || sec != want.Unix() || nsec != int64(want.Nanosecond()) {
			t.Fatalf("%s: got %d %d %v, want %d %d", text, sec, nsec, ok, want.Unix(), want.Nanosecond())
		}
	}
	for _, bad := range []string{
		"", "2024", "2024-13-01", "2024-00-10", "2023-02-29", "2024-04-31", "2024-1-01", "2024-01-01T", "2024-01-01T10", "2024-01-01T10:00", "2024-01-01T24:00:00Z",
		"2024-01-01T10:60:00Z", "2024-01-01T10:00:60Z", "2024-01-01T10:00:00.Z", "2024-01-01T10:00:00.0000000001Z", "2024-01-01T10:00:00+0100", "2024-01-01T10:00:00+24:00",
		"2024-01-01T10:00:00Zx", "2024-01-01x10:00:00Z", "-024-01-01", "2024-01-01T1a:00:00Z",
	} {
		if _, _, _, ok := parseTime([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

// FuzzParseNumber compares with strconv, which takes more notations for floats.
func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"0", "-1", "+7", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "18446744073709551615", "1e400", "1_0", "0x1", "NaN", "-", "", ".5", "1e", "99999999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		i, err := strconv.ParseInt(s, 10, 64)
		if n, reason := parseInt([]byte(s), intType); (reason == "") != (err == nil) || err == nil && int64(n) != i {
			t.Errorf("%q: got %d %s, want %d %v", s, int64(n), reason, i, err)
		}
		i8, err := strconv.ParseInt(s, 10, 8)
		if n, reason := parseInt([]byte(s), batch.Type{Kind: batch.Int8}); (reason == "") != (err == nil) || err == nil && int64(n) != i8 {
			t.Errorf("int8 %q: got %d %s, want %d %v", s, int64(n), reason, i8, err)
		}
		if len(s) > 0 && s[0] != '+' && s[0] != '-' { // strconv takes no sign here
			u, err := strconv.ParseUint(s, 10, 64)
			if n, reason := parseInt([]byte(s), uintType); (reason == "") != (err == nil) || err == nil && n != u {
				t.Errorf("uint64 %q: got %d %s, want %d %v", s, n, reason, u, err)
			}
		}
		if n, reason := parseFloat([]byte(s), floatType); reason == "" {
			if want, err := strconv.ParseFloat(s, 64); err != nil || math.Float64bits(want) != n {
				t.Errorf("float64 %q: got %v, want %v %v", s, math.Float64frombits(n), want, err)
			}
		}
	})
}
