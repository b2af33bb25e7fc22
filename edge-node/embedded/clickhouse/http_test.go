package clickhouse_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// web sends one request as curl would and returns the answer.
type web struct {
	t    *testing.T
	base string
}

func newWeb(t *testing.T) *web {
	p := embeddedtest.Server(t)
	if p == nil {
		t.Skip("the server under test is given by a native DSN: its HTTP address is not known")
	}
	return &web{t, "http://" + p.HTTP}
}

func (w *web) do(method, pathAndQuery, body string, header ...string) (*http.Response, string) {
	w.t.Helper()
	r, err := http.NewRequest(method, w.base+pathAndQuery, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	res, err := client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		text = append(text, ("!" + err.Error())...)
	}
	return res, string(text)
}

func (w *web) ok(query, body string) string {
	w.t.Helper()
	res, text := w.do("POST", "/"+query, body)
	if res.StatusCode != 200 {
		w.t.Fatalf("%s %s: %d %s", query, body, res.StatusCode, text)
	}
	return text
}

// database makes a database for this test and returns its name.
func (w *web) database() string {
	u, err := url.Parse(embeddedtest.ClickHouse(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

func TestHTTPAnswers(t *testing.T) {
	w := newWeb(t)
	get := "GET"
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		want                     string // in the answer
	}{
		{"ping", get, "/ping", "", 200, "Ok.\n"},
		{"root", get, "/", "", 200, "Ok.\n"},
		{"elsewhere", get, "/nowhere", "", 404, "There is no handle /nowhere"},
		{"get", get, "/?query=SELECT%201", "", 200, "1\n"},
		{"body", "POST", "/", "SELECT 1", 200, "1\n"},
		{"split", "POST", "/?query=SELECT", "2", 200, "2\n"},
		{"format", "POST", "/", "SELECT 1 AS x FORMAT JSONEachRow;", 200, "{\"x\":1}\n"},
		{"default format", "POST", "/?default_format=CSV", "SELECT 'a', 2", 200, "\"a\",2\n"},
		{"document", "POST", "/", "SELECT 1 AS x WHERE 0 FORMAT JSON", 200, "\"rows\": 0"},
		{"names", "POST", "/", "SELECT 1 AS x FORMAT TSVWithNames", 200, "x\n1\n"},
		{"big document", "POST", "/", "SELECT number FROM numbers(200000) FORMAT JSONCompact", 200, "\"rows\": 200000"},
		{"parameter", "POST", "/?param_x=41", "SELECT {x:UInt8} + 1", 200, "42\n"},
		{"setting", "POST", "/?max_block_size=123", "SELECT getSetting('max_block_size')", 200, "123\n"},
		{"format as a column", "POST", "/", "SELECT format FROM (SELECT 3 AS format) ORDER BY format DESC", 200, "3\n"},
		{"settings after format", "POST", "/", "SELECT getSetting('max_block_size') FORMAT CSV SETTINGS max_block_size = 7", 200, "7\n"},
		{"comment", "POST", "/", "-- one\nSELECT /* ; */ ';' -- two", 200, ";\n"},
		{"show", "POST", "/", "SHOW DATABASES LIKE 'syst%'", 200, "system\n"},
		{"unknown table", "POST", "/", "SELECT * FROM absent", 404, "Code: 60. DB::Exception:"},
		{"syntax", "POST", "/", "SELECT FROM WHERE", 400, "Code: 62. DB::Exception:"},
		{"empty", "POST", "/", "", 400, "Code: 62."},
		{"several", "POST", "/", "SELECT 1; SELECT 2", 400, "Code: 62."},
		{"unknown setting", "POST", "/?nonsense=1", "SELECT 1", 404, "Code: 115."},
		{"not a setting", "POST", "/?a%27b=1", "SELECT 1", 404, "Code: 115."},
		{"write with get", get, "/?query=CREATE%20TABLE%20t(a%20Int8)ENGINE=Memory", "", 500, "Code: 164."},
		{"unknown database", "POST", "/?database=absent", "SELECT 1", 404, "Code: 81."},
		{"bad revision", "POST", "/?client_protocol_version=x", "SELECT 1", 400, "Code: 36."},
		{"late failure", "POST", "/?wait_end_of_query=1", "SELECT throwIf(number = 900000) FROM numbers(1000000)", 500, "Code: 395."},
		{"shutdown", "POST", "/", "/* x */ SYSTEM /* y */ SHUTDOWN", 500, "Code: 1. DB::Exception: SYSTEM SHUTDOWN"},
		{"read a file", "POST", "/", "SELECT * FROM file('/etc/passwd', 'LineAsString')", 500, "reaches files"},
		{"write a file", "POST", "/", "INSERT INTO FUNCTION `file` ('x.csv') VALUES (1)", 500, "reaches files"},
		{"copy to a file", "POST", "/", "INSERT INTO FUNCTION file('x.csv') SELECT 1", 500, "reaches files"},
		{"file engine", "POST", "/", "CREATE TABLE f (a Int8) ENGINE = File(CSV, '/tmp/x')", 500, "reaches files"},
		{"run a program", "POST", "/", "SELECT * FROM executable('sh', 'TSV', 'a String')", 500, "reaches files"},
		{"outfile", "POST", "/", "SELECT 1 INTO OUTFILE '/tmp/x'", 500, "matter of the client"},
		{"infile", "POST", "/", "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV", 500, "matter of the client"},
		{"a column called file", "POST", "/", "SELECT file, 'file(1)' FROM (SELECT 1 AS file)", 200, "1\tfile(1)\n"},
		{"method", "DELETE", "/", "", 405, "not supported"},
		{"broken frames", "POST", "/?decompress=1", "garbage garbage garbage garbage", 400, "cannot be read"},
		{"missing session", "POST", "/?session_id=x&session_check=1", "SELECT 1", 404, "Code: 372."},
		{"bad session", "POST", "/?session_id=x&session_timeout=1000000", "SELECT 1", 400, "Code: 36."},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &web{t, w.base}
			res, text := w.do(c.method, c.path, c.body)
			if res.StatusCode != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, text, c.status, c.want)
			}
			code, rest, _ := strings.Cut(strings.TrimPrefix(text, "Code: "), ".")
			if strings.HasPrefix(rest, " DB::Exception") && res.Header.Get("X-ClickHouse-Exception-Code") != code {
				t.Errorf("header says code %q of %q", res.Header.Get("X-ClickHouse-Exception-Code"), text)
			}
		})
	}
}

func TestHTTPFailureInTheMiddle(t *testing.T) {
	w := newWeb(t)
	res, text := w.do("POST", "/", "SELECT throwIf(number = 900000) FROM numbers(1000000)")
	if res.StatusCode != 200 || !strings.Contains(text, "__exception__") || !strings.Contains(text, "Code: 395.") {
		t.Errorf("got %d and %q", res.StatusCode, text[max(0, len(text)-300):])
	}
	if !strings.Contains(text, "!unexpected EOF") {
		t.Error("the client could take the answer for whole")
	}
}

func TestHTTPInserts(t *testing.T) {
	w := newWeb(t)
	db := "database=" + w.database()
	w.ok("?"+db, "CREATE TABLE t (a UInt32, b String) ENGINE = MergeTree ORDER BY a")
	w.ok("?"+db, "INSERT INTO t VALUES (1, 'values'), (2, 'in the body')")
	w.ok("?"+db+"&query="+url.QueryEscape("INSERT INTO t (a, b) FORMAT TSV"), "3\ttsv\n")
	w.ok("?"+db+"&query="+url.QueryEscape("INSERT INTO t VALUES"), "(4, 'split')")
	w.ok("?"+db, "INSERT INTO t FORMAT JSONEachRow\n{\"a\": 5, \"b\": \"json\"}")
	w.ok("?"+db, "INSERT INTO t (b, a) SETTINGS async_insert = 0 FORMAT CSV\n\"x\",6\n")
	var big strings.Builder
	big.WriteString("INSERT INTO t FORMAT TSV\n")
	for i := range 200_000 {
		fmt.Fprintf(&big, "%d\trow\n", 1000+i)
	}
	w.ok("?"+db, big.String())
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte("INSERT INTO t VALUES (7, 'gzip')"))
	_ = z.Close()
	if res, text := w.do("POST", "/?"+db, zipped.String(), "Content-Encoding", "gzip"); res.StatusCode != 200 {
		t.Errorf("gzip: %s", text)
	}
	// Half a body must not become half an insert.
	if res, _ := w.do("POST", "/?"+db, zipped.String()[:zipped.Len()-12], "Content-Encoding", "gzip"); res.StatusCode == 200 {
		t.Error("half a gzip body was accepted")
	}
	if res, text := w.do("POST", "/?"+db, "INSERT INTO t FORMAT TSV\nx\ty\n"); res.StatusCode != 400 || !strings.HasPrefix(text, "Code: 27.") && !strings.HasPrefix(text, "Code: 72.") {
		t.Errorf("bad row: %d %s", res.StatusCode, text)
	}
	if got := w.ok("?"+db, "SELECT count(), countIf(a < 1000), sum(a) FROM t WHERE b != ''"); got != "200007\t7\t20199900028\n" {
		t.Errorf("got %q", got)
	}
}

// TestHTTPArrow sends record batches the way the opt-in transport of the sink does, states as binary.
func TestHTTPArrow(t *testing.T) {
	w := newWeb(t)
	db := "database=" + w.database()
	w.ok("?"+db, "CREATE TABLE t (k LowCardinality(String), at DateTime64(3), u AggregateFunction(uniqExact, UInt64)) ENGINE = MergeTree ORDER BY k")
	state := w.ok("", "SELECT uniqExactState(number) FROM numbers(5) FORMAT RowBinary")
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}},
		{Name: "u", Type: arrow.BinaryTypes.Binary},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 3 {
		if err := b.Field(0).(*array.BinaryDictionaryBuilder).AppendString(fmt.Sprint("k", i%2)); err != nil {
			t.Fatal(err)
		}
		b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(1_700_000_000_123 + i))
		b.Field(2).(*array.BinaryBuilder).Append([]byte(state))
	}
	record := b.NewRecord()
	defer record.Release()
	var body bytes.Buffer
	out := ipc.NewWriter(&body, ipc.WithSchema(schema))
	if err := out.Write(record); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	w.ok("?"+db+"&query="+url.QueryEscape("INSERT INTO t (k, at, u) FORMAT ArrowStream"), body.String())
	if got := w.ok("?"+db, "SELECT k, count(), max(toUnixTimestamp64Milli(at)), uniqExactMerge(u) FROM t GROUP BY k ORDER BY k"); got !=
		"k0\t2\t1700000000125\t5\nk1\t1\t1700000000124\t5\n" {
		t.Errorf("got %q", got)
	}
}

func TestHTTPCompression(t *testing.T) {
	w := newWeb(t)
	res, text := w.do("POST", "/?enable_http_compression=1", "SELECT number FROM numbers(100000)", "Accept-Encoding", "gzip")
	if res.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("encoding %q", res.Header.Get("Content-Encoding"))
	}
	z, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil || !strings.HasSuffix(string(plain), "\n99999\n") {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
	if res, _ := w.do("POST", "/", "SELECT 1", "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Error("compressed without being asked to")
	}
}

func TestHTTPSessions(t *testing.T) {
	w := newWeb(t)
	id := "?session_id=" + w.database()
	w.ok(id, "SET max_block_size = 99")
	w.ok(id, "CREATE TEMPORARY TABLE tmp (a UInt8)")
	if got := w.ok(id, "SELECT getSetting('max_block_size'), count() FROM tmp"); got != "99\t0\n" {
		t.Errorf("got %q", got)
	}
	// None of that, nor what a request without a session does, reaches others.
	for range 20 {
		w.ok("", "SET max_block_size = 98")
		if got := w.ok("", "SELECT getSetting('max_block_size')"); got == "98\n" || got == "99\n" {
			t.Fatalf("got %q", got)
		}
		w.ok("?database=system", "SELECT count() FROM one")
		if got := w.ok("", "SELECT currentDatabase()"); got != "default\n" {
			t.Fatalf("got %q", got)
		}
	}
	var wg sync.WaitGroup
	locked := make([]bool, 3)
	for i := range locked {
		wg.Go(func() {
			_, text := (&web{t, w.base}).do("POST", "/"+id, "SELECT sleep(0.3)")
			locked[i] = strings.HasPrefix(text, "Code: 373.")
		})
	}
	wg.Wait()
	if n := fmt.Sprint(locked); strings.Count(n, "true") != 2 {
		t.Errorf("one session ran queries at once: %s", n)
	}
}
