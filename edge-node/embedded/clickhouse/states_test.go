package clickhouse_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// states are the aggregate functions whose states the server can send and receive on the native port.
var states = []struct{ typ, expr string }{
	{"count", "countState()"},
	{"count, UInt64", "countState(n)"},
	{"count, Nullable(UInt64)", "countState(toNullable(n))"},
	{"countIf, UInt8", "countIfState(n % 2)"},
	{"sum, UInt64", "sumState(n)"},
	{"sum, Float64", "sumState(toFloat64(n))"},
	{"sum, Int32", "sumState(toInt32(n))"},
	{"sum, Decimal(18, 2)", "sumState(toDecimal64(n, 2))"},
	{"sum, Nullable(UInt64)", "sumState(if(n % 2, NULL, n))"},
	{"sumIf, UInt64, UInt8", "sumIfState(n, toUInt8(n % 2))"},
	{"sumCount, Float64", "sumCountState(toFloat64(n))"},
	{"avg, Float64", "avgState(toFloat64(n))"},
	{"avg, UInt32", "avgState(toUInt32(n))"},
	{"min, Float64", "minState(toFloat64(n))"},
	{"max, String", "maxState(toString(n))"},
	{"max, DateTime64(3)", "maxState(toDateTime64(n, 3))"},
	{"max, Nullable(Int64)", "maxState(if(n > 3, NULL, toInt64(n)))"},
	{"any, LowCardinality(String)", "anyState(toLowCardinality(toString(n)))"},
	{"anyLast, UInt8", "anyLastState(toUInt8(n))"},
	{"argMax, String, UInt64", "argMaxState(toString(n), n)"},
	{"argMin, Float64, DateTime64(3)", "argMinState(toFloat64(n), toDateTime64(n, 3))"},
	{"varSamp, Float64", "varSampState(toFloat64(n))"},
	{"stddevPop, Float64", "stddevPopState(toFloat64(n))"},
	{"uniq, String", "uniqState(toString(n))"},
	{"uniq, UInt64", "uniqState(n)"},
	{"uniqExact, UInt64", "uniqExactState(n)"},
	{"uniqExact, String", "uniqExactState(toString(n))"},
	{"uniqHLL12, String", "uniqHLL12State(toString(n))"},
	{"uniqCombined(12), UInt64", "uniqCombinedState(12)(n)"},
	{"uniqCombined, String", "uniqCombinedState(toString(n))"},
	{"uniqCombined64(14), String", "uniqCombined64State(14)(toString(n))"},
	{"groupBitmap, UInt32", "groupBitmapState(toUInt32(n))"},
	{"quantilesDD(0.01, 0.5, 0.99), Float64", "quantilesDDState(0.01, 0.5, 0.99)(toFloat64(n) - 5)"},
	{"quantilesTDigest(0.5), Float64", "quantilesTDigestState(0.5)(toFloat64(n))"},
	{"quantileBFloat16(0.5), Float64", "quantileBFloat16State(0.5)(toFloat64(n))"},
	{"quantilesExactWeighted(0.5), UInt64, UInt64", "quantilesExactWeightedState(0.5)(n, toUInt64(1))"},
	{"groupArray, UInt64", "groupArrayState(n)"},
	{"groupArray, String", "groupArrayState(toString(n))"},
	{"sumMap, Array(String), Array(UInt64)", "sumMapState([toString(n % 5)], [n])"},
	{"topK(3), String", "topKState(3)(toString(n))"},
}

// TestStates reads states over the native protocol, where nothing but the server's own rules says where each ends, and
// inserts them again. ch-go is the client: clickhouse-go refuses the type.
func TestStates(t *testing.T) {
	server := embeddedtest.Server(t)
	if server == nil {
		t.Skip("about the embedded server's own rules")
	}
	conn := native(t)
	for _, s := range states {
		for _, rows := range []int{1, 3, 40, 100_000} {
			t.Run(fmt.Sprint(s.typ, "/", rows), func(t *testing.T) {
				typ := "AggregateFunction(" + s.typ + ")"
				// The mark after each state, and the String after the column, tell whether the walk kept its place.
				exec(t, conn, "CREATE OR REPLACE TABLE s (g UInt64, v "+typ+", mark String) ENGINE = Memory")
				exec(t, conn, fmt.Sprintf("INSERT INTO s SELECT g, %s, 'mark' || toString(g) FROM (SELECT number %% 3 AS g, number AS n FROM numbers(%d)) GROUP BY g", s.expr, rows))
				want := scan[string](t, conn, "SELECT toString(cityHash64(groupArray((g, hex(v), mark)))) FROM (SELECT * FROM s ORDER BY g)")
				db := scan[string](t, conn, "SELECT currentDatabase()")
				block := fetchState(t, server.Native, db, typ)
				exec(t, conn, "TRUNCATE TABLE s")
				storeState(t, server.Native, db, block)
				if got := scan[string](t, conn, "SELECT toString(cityHash64(groupArray((g, hex(v), mark)))) FROM (SELECT * FROM s ORDER BY g)"); got != want {
					t.Errorf("the states changed on the way")
				}
			})
		}
	}
}

func dialCH(t *testing.T, addr, db string) *ch.Client {
	t.Helper()
	c, err := ch.Dial(testContext(t), ch.Options{Address: addr, Database: db, Compression: ch.CompressionLZ4, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// stateBlock is a column of states as ch-go cannot decode it: hex text beside the native bytes' own check.
type stateBlock struct {
	g    proto.ColUInt64
	hex  proto.ColStr
	mark proto.ColStr
}

// fetchState selects the state column itself, which makes the server walk it, on a connection read byte by byte; then
// the same as text, which ch-go can hold.
func fetchState(t *testing.T, addr, db, typ string) *stateBlock {
	t.Helper()
	if err := rawSelect(addr, db, "SELECT v, mark FROM s ORDER BY g", typ); err != nil {
		t.Fatal(err)
	}
	b := &stateBlock{}
	c := dialCH(t, addr, db)
	err := c.Do(testContext(t), ch.Query{
		Body:   "SELECT g, CAST(v AS String) AS v, mark FROM s ORDER BY g",
		Result: proto.Results{{Name: "g", Data: &b.g}, {Name: "v", Data: &b.hex}, {Name: "mark", Data: &b.mark}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func storeState(t *testing.T, addr, db string, b *stateBlock) {
	t.Helper()
	c := dialCH(t, addr, db)
	err := c.Do(testContext(t), ch.Query{
		Body:  "INSERT INTO s (g, v, mark) VALUES",
		Input: proto.Input{{Name: "g", Data: b.g}, {Name: "v", Data: &b.hex}, {Name: "mark", Data: b.mark}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rawSelect runs a query without any client library and checks that the answer ends as it must.
func rawSelect(addr, db, sql, typ string) error {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	var b proto.Buffer
	proto.ClientHello{Name: "raw", Major: 1, ProtocolVersion: 54460, Database: db, User: "default"}.Encode(&b)
	b.PutString("") // quota key
	q := proto.Query{
		Body: sql, Stage: proto.StageComplete,
		Info: proto.ClientInfo{ProtocolVersion: 54460, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial},
	}
	q.EncodeAware(&b, 54460)
	b.Buf = append(b.Buf, 2, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0) // Data: no table name, block info, no columns
	if _, err := nc.Write(b.Buf); err != nil {
		return err
	}
	// Profile, Progress, an empty Data packet and EndOfStream end the answer.
	var got []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := nc.Read(buf)
		got = append(got, buf[:n]...)
		if i := bytes.Index(got, []byte("DB::Exception")); i >= 0 {
			return fmt.Errorf("%s", got[i:])
		}
		if bytes.HasSuffix(got, []byte{1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 5}) {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", len(got), err)
		}
	}
	if !bytes.Contains(got, []byte(typ[:10])) || !bytes.Contains(got, []byte("mark2")) && !bytes.Contains(got, []byte("mark0")) {
		return fmt.Errorf("the answer lacks the column or its marks")
	}
	return nil
}
