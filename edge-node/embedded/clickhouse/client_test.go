package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

func TestPing(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		if err := conn.Ping(testContext(t)); err != nil {
			t.Fatal(err)
		}
		v, err := conn.ServerVersion()
		if err != nil || v.Version.Major < 20 {
			t.Errorf("version %v, %v", v, err)
		}
	})
}

func TestExceptionsKeepTheConnection(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		for _, c := range []struct {
			sql  string
			code int32
		}{
			{"SELECT * FROM absent", 60},
			{"SELEC 1 1", 62},
			{"SELECT 1; SELECT 2", 62},
			{"", 62},
			{"SELECT throwIf(number = 150000, 'half way') FROM numbers(200000)", 395},
			{"CREATE TABLE t (a UInt8) ENGINE = Absent", 56},
			{"INSERT INTO absent VALUES (1)", 60},
		} {
			err := conn.Exec(testContext(t), c.sql)
			if c.code == 395 {
				err = drain(t, conn, c.sql)
			}
			var e *chgo.Exception
			if !errors.As(err, &e) || e.Code != c.code {
				t.Errorf("%s: got %v, want code %d", c.sql, err, c.code)
			}
		}
		if got := scan[uint8](t, conn, "SELECT 1"); got != 1 {
			t.Errorf("got %d", got)
		}
	})
}

// drain reads an answer to its end and returns the error, whenever it comes.
func drain(t *testing.T, conn driver.Conn, sql string) error {
	rows, err := conn.Query(testContext(t), sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

func TestSettings(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		ask := func(s chgo.Settings) (v string) {
			t.Helper()
			ctx := chgo.Context(testContext(t), chgo.WithSettings(s))
			if err := conn.QueryRow(ctx, "SELECT toString(getSetting('max_block_size')) || '/' || getSetting('log_comment')").Scan(&v); err != nil {
				t.Fatal(err)
			}
			return v
		}
		// Settings hold for their query alone, on whatever session the next one lands.
		first := ask(nil)
		if got := ask(chgo.Settings{"max_block_size": 777}); got[:4] != "777/" {
			t.Errorf("got %s", got)
		}
		if got := ask(chgo.Settings{"max_block_size": 778, "log_comment": "it's"}); got[:4] != "778/" || got[len(got)-4:] != "it's" {
			t.Errorf("got %s", got)
		}
		if got := ask(nil); got[:5] != first[:5] {
			t.Errorf("got %s, want what it was: %s", got, first)
		}
		for _, s := range []chgo.Settings{{"no_such_setting": 1}, {"max_block_size": "x"}, {"a b": 1}} {
			if err := conn.Exec(chgo.Context(testContext(t), chgo.WithSettings(s)), "SELECT 1"); err == nil {
				t.Errorf("%v was accepted", s)
			}
		}
		var e *chgo.Exception
		err := conn.Exec(chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"max_memory_usage": 1_000_000})),
			"SELECT groupArray(number) FROM numbers(10000000)")
		if !errors.As(err, &e) || e.Code != 241 {
			t.Errorf("got %v, want code 241", err)
		}
		// A session that was told to be read-only is usable again afterwards.
		err = conn.Exec(chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"readonly": 1})), "CREATE TABLE r (a UInt8) ENGINE = Memory")
		if !errors.As(err, &e) || e.Code != 164 {
			t.Errorf("got %v, want code 164", err)
		}
		for range 5 {
			exec(t, conn, "CREATE TABLE IF NOT EXISTS r (a UInt8) ENGINE = Memory")
		}
	})
}

func TestSetStatementSurvivesQuerySettings(t *testing.T) {
	opts, err := chgo.ParseDSN(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxOpenConns = 1
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(ctx context.Context) (v uint64) {
		t.Helper()
		if err := conn.QueryRow(ctx, "SELECT toUInt64(getSetting('max_block_size'))").Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	with := chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"max_block_size": 500}))
	if err := conn.Exec(with, "SET max_block_size = 400"); err != nil {
		t.Fatal(err)
	}
	if got := ask(with); got != 500 {
		t.Errorf("with a setting: %d", got)
	}
	if got := ask(testContext(t)); got != 400 {
		t.Errorf("after it: %d, want what SET said", got)
	}
}

func TestParameters(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		ctx := chgo.Context(testContext(t), chgo.WithParameters(chgo.Parameters{
			"n": "42", "s": `it's a \\ "test"\n`, "a": "['x','y']", "t": "numbers",
		}))
		var n uint64
		var s string
		var a []string
		err := conn.QueryRow(ctx, "SELECT {n:UInt64}, {s:String}, {a:Array(String)}").Scan(&n, &s, &a)
		if err != nil || n != 42 || s != "it's a \\ \"test\"\n" || fmt.Sprint(a) != "[x y]" {
			t.Errorf("got %d %q %v, %v", n, s, a, err)
		}
		// An empty answer is described with the same parameters.
		rows, err := conn.Query(ctx, "SELECT {n:UInt64} AS n WHERE 0")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		if rows.Next() || len(rows.Columns()) != 1 {
			t.Errorf("columns %v", rows.Columns())
		}
	})
}

func TestSelectManyBlocks(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		rows, err := conn.Query(testContext(t), "SELECT number, toString(number), [number, 1] FROM numbers(300000)")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var sum, n uint64
		for rows.Next() {
			var v uint64
			var s string
			var a []uint64
			if err := rows.Scan(&v, &s, &a); err != nil {
				t.Fatal(err)
			}
			sum += v
			n++
			if n%100_000 == 0 && (s != fmt.Sprint(v) || a[0] != v) {
				t.Fatalf("row %d: %d %s %v", n, v, s, a)
			}
		}
		if err := rows.Err(); err != nil || n != 300_000 || sum != 44999850000 {
			t.Errorf("%d rows, sum %d, %v", n, sum, err)
		}
	})
}

func TestInsertForms(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		exec(t, conn, `CREATE TABLE t (a UInt32, b String DEFAULT 'd', m UInt32 MATERIALIZED a + 1, al UInt32 ALIAS a + 2,
			e String EPHEMERAL, f UInt64 DEFAULT length(e)) ENGINE = MergeTree ORDER BY a`)
		exec(t, conn, "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')")
		exec(t, conn, "INSERT INTO t (a) SELECT number + 3 FROM numbers(2)")
		for _, sql := range []string{"INSERT INTO t (a, e)", "INSERT INTO t (a, e) VALUES", "INSERT INTO t (a,\n `e`) FORMAT Native"} {
			batch, err := conn.PrepareBatch(testContext(t), sql)
			if err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
			if err := batch.Append(uint32(10), "four"); err != nil {
				t.Fatal(err)
			}
			if err := batch.Send(); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		if got := scan[string](t, conn, "SELECT toString(groupArray((a, b, m, al, f))) FROM (SELECT * , m, al FROM t ORDER BY a, b)"); got !=
			"[(1,'x',2,3,0),(2,'y',3,4,0),(3,'d',4,5,0),(4,'d',5,6,0),(10,'d',11,12,4),(10,'d',11,12,4),(10,'d',11,12,4)]" {
			t.Errorf("got %s", got)
		}
		// The columns are looked up again after they change.
		exec(t, conn, "ALTER TABLE t ADD COLUMN z String DEFAULT 'zz'")
		batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO t (a, z)")
		if err != nil {
			t.Fatal(err)
		}
		if err := batch.Append(uint32(20), "new"); err != nil {
			t.Fatal(err)
		}
		if err := batch.Send(); err != nil {
			t.Fatal(err)
		}
		if got := scan[string](t, conn, "SELECT z FROM t WHERE a = 20"); got != "new" {
			t.Errorf("got %s", got)
		}
	})
}

// TestInsertWithoutColumns is for the native protocol alone: over HTTP the client itself decides what the columns are.
func TestInsertWithoutColumns(t *testing.T) {
	conn := native(t)
	exec(t, conn, "CREATE TABLE t (a UInt32, m UInt32 MATERIALIZED a, al UInt32 ALIAS a, b String DEFAULT 'd', e String EPHEMERAL) ENGINE = MergeTree ORDER BY a")
	for _, sql := range []string{"INSERT INTO t", "INSERT INTO t VALUES", "INSERT INTO t (* EXCEPT (zz))", "insert into t format Native"} {
		batch, err := conn.PrepareBatch(testContext(t), sql)
		if sql == "INSERT INTO t (* EXCEPT (zz))" {
			if err == nil {
				t.Errorf("%s: a column that is not there was accepted", sql)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if err := batch.Append(uint32(1), "x"); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if err := batch.Send(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if got := scan[uint64](t, conn, "SELECT count() FROM t WHERE b = 'x'"); got != 3 {
		t.Errorf("%d rows, want 3", got)
	}
}

func TestInsertWithManyFlushes(t *testing.T) {
	conn := native(t)
	exec(t, conn, "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
	batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO t (a, s)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300_000 {
		if err := batch.Append(uint64(i), "some text"); err != nil {
			t.Fatal(err)
		}
		if i%50_000 == 0 {
			if err := batch.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	if got := scan[uint64](t, conn, "SELECT sum(a) FROM t"); got != 44999850000 {
		t.Errorf("sum %d", got)
	}
}

func TestInsertFailureKeepsTheServer(t *testing.T) {
	conn := native(t)
	exec(t, conn, "CREATE TABLE t (a UInt64, CONSTRAINT small CHECK a < 100) ENGINE = MergeTree ORDER BY a")
	for range 3 {
		batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO t (a)")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := batch.Append(uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
		var e *chgo.Exception
		if err := batch.Send(); !errors.As(err, &e) || e.Code != 469 {
			t.Fatalf("got %v, want code 469", err)
		}
	}
	if got := scan[uint64](t, conn, "SELECT count() FROM t"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

func TestDeduplicationToken(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		exec(t, conn, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 100")
		insert := func(token string, v uint64) {
			t.Helper()
			ctx := chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"async_insert": 0, "insert_deduplication_token": token}))
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO t (a)")
			if err != nil {
				t.Fatal(err)
			}
			if err := batch.Append(v); err != nil {
				t.Fatal(err)
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
		}
		insert("x", 1)
		insert("x", 1)
		insert("x", 2)
		insert("y", 1)
		if got := scan[uint64](t, conn, "SELECT count() FROM t"); got != 2 {
			t.Errorf("%d rows, want 2", got)
		}
	})
}

func TestReplacingMergeTreeFinalView(t *testing.T) {
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		exec(t, conn, `CREATE TABLE p (k LowCardinality(String), source String, version UInt64, n UInt64, u AggregateFunction(uniqExact, String))
			ENGINE = ReplacingMergeTree(version) ORDER BY (k, source)`)
		exec(t, conn, "CREATE TABLE landing (k LowCardinality(String), source String, version UInt64, n UInt64, u String) ENGINE = Null")
		exec(t, conn, "CREATE MATERIALIZED VIEW mv TO p AS SELECT * EXCEPT (u), CAST(u AS AggregateFunction(uniqExact, String)) AS u FROM landing")
		exec(t, conn, "CREATE VIEW v AS SELECT k, sum(n) AS n, uniqExactMerge(u) AS u FROM p FINAL GROUP BY k")
		state := scan[string](t, conn, "SELECT CAST(uniqExactState(toString(number)) AS String) FROM numbers(3)")
		for _, r := range []struct {
			source     string
			version, n uint64
		}{{"a", 1, 10}, {"b", 1, 5}, {"a", 3, 30}, {"a", 2, 20}, {"a", 3, 30}} {
			batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO landing (k, source, version, n, u)")
			if err != nil {
				t.Fatal(err)
			}
			if err := batch.Append("x", r.source, r.version, r.n, state); err != nil {
				t.Fatal(err)
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
		}
		var n, u uint64
		if err := conn.QueryRow(testContext(t), "SELECT n, u FROM v WHERE k = 'x'").Scan(&n, &u); err != nil || n != 35 || u != 3 {
			t.Errorf("n %d, u %d, %v", n, u, err)
		}
	})
}

func TestCancel(t *testing.T) {
	watcher := native(t)
	eachTransport(t, func(t *testing.T, conn driver.Conn) {
		for _, sql := range []string{
			"SELECT sum(sleepEachRow(0.01)) FROM numbers(100000) SETTINGS max_block_size = 10, function_sleep_max_microseconds_per_block = 0",
			"SELECT sum(cityHash64(number)) FROM numbers(1000000000000)",
			"INSERT INTO FUNCTION null('a UInt64') SELECT cityHash64(number) FROM numbers(1000000000000)",
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			started := time.Now()
			err := conn.Exec(ctx, sql)
			cancel()
			if err == nil || time.Since(started) > 5*time.Second {
				t.Fatalf("%s: got %v after %v", sql, err, time.Since(started))
			}
		}
		deadline := time.Now().Add(5 * time.Second)
		for {
			n := scan[uint64](t, watcher, "SELECT count() FROM system.processes WHERE query NOT LIKE '%system.processes%'")
			if n == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d queries still run", n)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func TestExternalTable(t *testing.T) {
	conn := native(t)
	table, err := ext.NewTable("ids", ext.Column("id", "UInt64"), ext.Column("name", "String"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := table.Append(uint64(i), fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time finds no leftover of the first
		ctx := chgo.Context(testContext(t), chgo.WithExternalTable(table))
		var n uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM ids WHERE id > 3 AND name != 'n5'").Scan(&n); err != nil || n != 5 {
			t.Fatalf("got %d, %v", n, err)
		}
	}
}

// TestConcurrentSessions has many clients write and read at once, and one that goes away in the middle of things.
func TestConcurrentSessions(t *testing.T) {
	opts, err := chgo.ParseDSN(embeddedtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	opts.MaxOpenConns, opts.MaxIdleConns = 20, 20
	opts.Compression = &chgo.Compression{Method: chgo.CompressionLZ4}
	conn, err := chgo.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exec(t, conn, "CREATE TABLE t (w UInt32, a UInt64, s LowCardinality(String)) ENGINE = MergeTree ORDER BY (w, a)")
	const workers, rounds, perRound = 16, 10, 500
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				batch, err := conn.PrepareBatch(testContext(t), "INSERT INTO t (w, a, s)")
				if err != nil {
					t.Error(err)
					return
				}
				for i := range perRound {
					if err := batch.Append(uint32(w), uint64(r*perRound+i), fmt.Sprint("s", i%7)); err != nil {
						t.Error(err)
						return
					}
				}
				if w%4 == 3 {
					if err := batch.Abort(); err != nil { // closes the connection mid-insert
						t.Error(err)
					}
					continue
				}
				if err := batch.Send(); err != nil {
					t.Error(err)
					return
				}
				var n uint64
				if err := conn.QueryRow(testContext(t), "SELECT count() FROM t WHERE w = ?", w).Scan(&n); err != nil || n != uint64((r+1)*perRound) {
					t.Errorf("worker %d round %d: %d rows, %v", w, r, n, err)
				}
			}
		})
	}
	wg.Wait()
	if got, want := scan[uint64](t, conn, "SELECT count() FROM t"), uint64(workers/4*3*rounds*perRound); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// An insert whose rows do not come for receive_timeout is over: a client that was stopped in the middle cannot complete it later.
func TestReceiveTimeout(t *testing.T) {
	conn := native(t)
	exec(t, conn, "CREATE TABLE slow (a UInt8) ENGINE = Memory")
	for _, c := range []struct {
		seconds int
		stored  uint64
	}{{1, 0}, {100, 1}} {
		b, err := conn.PrepareBatch(chgo.Context(testContext(t), chgo.WithSettings(chgo.Settings{"receive_timeout": c.seconds})), "INSERT INTO slow")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1200 * time.Millisecond)
		if err := errors.Join(b.Append(uint8(1)), b.Send()); (err == nil) != (c.stored > 0) {
			t.Errorf("receive_timeout %d s: %v", c.seconds, err)
		}
		if got := scan[uint64](t, conn, "SELECT count() FROM slow"); got != c.stored {
			t.Errorf("receive_timeout %d s: %d rows are stored, want %d", c.seconds, got, c.stored)
		}
	}
	// The connection goes on, for as long as it is idle.
	time.Sleep(1200 * time.Millisecond)
	if got := scan[uint64](t, conn, "SELECT count() FROM slow"); got != 1 {
		t.Errorf("%d rows", got)
	}
}
