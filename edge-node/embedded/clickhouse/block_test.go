package clickhouse

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
)

// block builds a FORMAT Native block of one column.
func block(rows int, typ string, data ...byte) []byte {
	b := binary.AppendUvarint(nil, 1)
	b = binary.AppendUvarint(b, uint64(rows))
	b = appendText(b, "c")
	b = appendText(b, typ)
	return append(b, data...)
}

func u64(values ...uint64) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestWalkBadBlocks(t *testing.T) {
	for _, c := range []struct {
		name  string
		block []byte
		want  string
	}{
		{"unknown type", block(1, "Wat", 0), "UNKNOWN_TYPE"},
		{"unclosed type", block(1, "Array(UInt8", 0), "UNKNOWN_TYPE"},
		{"deep type", block(1, strings.Repeat("Array(", 100)+"UInt8"+strings.Repeat(")", 100)), "nested deeper"},
		{"long type", block(1, strings.Repeat("x", maxTypeText+1)), "65537 bytes"},
		{"rows", append(binary.AppendUvarint([]byte{1}, 1<<40), 0), "a block of 1 columns"},
		{"columns", append(binary.AppendUvarint(nil, 1<<30), 0), "a block of"},
		{"truncated", block(2, "UInt64", 1, 2, 3), "unexpected EOF"},
		{"huge fixed", block(1<<31, "UInt256"), "larger than"},
		{"huge string", block(1, "String", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), "larger than"},
		{"bad varint", block(1, "String", bytes.Repeat([]byte{0xff}, 11)...), "variable-length"},
		{"falling offsets", block(2, "Array(UInt8)", cat(u64(2, 1), []byte{1, 2})...), "fall from"},
		{"huge offset", block(1, "Array(UInt8)", u64(1<<62)...), "larger than"},
		{"huge empty arrays", block(1, "Array(Tuple())", u64(1<<40)...), "larger than"},
		{"dictionary version", block(1, "LowCardinality(String)", u64(7)...), "version 7"},
		{"global dictionary", block(1, "LowCardinality(String)", u64(1, lcNeedGlobalDictionary)...), "index type"},
		{"no dictionary", block(1, "LowCardinality(String)", u64(1, 0)...), "index type"},
		{"no progress", block(1, "LowCardinality(UInt8)", u64(1, lcHasAdditionalKeys, 0, 0)...), "0 indexes"},
		{"nested dictionary", block(1, "LowCardinality(Array(UInt8))", u64(1)...), "nested"},
		{"discriminator", block(1, "Variant(UInt8)", append(u64(0), 9)...), "discriminator 9"},
		{"compact variant", block(1, "Variant(UInt8)", append(u64(1), 0)...), "compact"},
		{"json object", block(1, "JSON", u64(0)...), "as text only"},
		{"dynamic version", block(1, "Dynamic", u64(9)...), "version 9"},
		{"dynamic types", block(1, "Dynamic", cat(u64(2), binary.AppendUvarint(nil, 5000))...), "5000 types"},
		{"unknown state", block(1, "AggregateFunction(theta, UInt8)", 0), "cannot tell where"},
		{"bad sketch", block(1, "AggregateFunction(quantileDD(0.1), Float64)", bytes.Repeat([]byte{9}, 40)...), "mark 0x9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := walker{in: sliceInput(c.block), limit: 1 << 20}
			_, err := w.walk(nativeFormat, nativeFormat)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestWalkBetweenLayouts(t *testing.T) {
	wire := layoutOf(revision)
	in := cat(block(2, "Array(LowCardinality(Nullable(String)))", cat(u64(1), u64(2, 3), u64(lcHasAdditionalKeys, 2), []byte{0, 1, 'x'}, u64(3), []byte{1, 0, 1})...))
	w := walker{in: sliceInput(in), limit: 1 << 20}
	if _, err := w.walk(nativeFormat, wire); err != nil {
		t.Fatal(err)
	}
	if len(w.out) != len(in)+len(appendBlockInfo(nil))+1 {
		t.Errorf("%d bytes became %d", len(in), len(w.out))
	}
	back := walker{in: newInput(oneByte{bytes.NewReader(w.out)}), limit: 1 << 20}
	h, err := back.walk(wire, nativeFormat)
	if err != nil || !bytes.Equal(back.out, in) || h.rows != 2 {
		t.Errorf("got % x, %v", back.out, err)
	}
	w.out[len(appendBlockInfo(nil))+2+2+1+len("Array(LowCardinality(Nullable(String)))")] = 1
	back = walker{in: sliceInput(w.out), limit: 1 << 20}
	if _, err := back.walk(wire, nativeFormat); err == nil || !strings.Contains(err.Error(), "custom serialization") {
		t.Errorf("got %v", err)
	}
}

// oneByte gives one byte a read.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func FuzzWalk(f *testing.F) {
	for _, typ := range []string{
		"UInt8", "String", "Nullable(String)", "Array(Array(UInt16))", "Map(String, UInt8)", "Tuple(a UInt8, b String)",
		"LowCardinality(Nullable(String))", "Variant(String, UInt8)", "Dynamic", "JSON", "Point", "Decimal(20, 3)",
		"AggregateFunction(quantilesDD(0.01, 0.5), Float64)", "AggregateFunction(uniqExact, String)", "AggregateFunction(1, sumMap, Array(String), Array(UInt64))",
		"SimpleAggregateFunction(max, Tuple(DateTime64(3, 'UTC'), Float64))", "Nested(k Enum8('a' = 1, 'b)' = 2), v FixedString(3))",
	} {
		f.Add(block(2, typ, make([]byte, 64)...), false)
		f.Add(append(appendBlockInfo(nil), block(1, typ, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0)...), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, wire bool) {
		from := nativeFormat
		if wire {
			from = layoutOf(revision)
		}
		const limit = 1 << 20
		w := walker{in: sliceInput(data), limit: limit}
		h, err := w.walk(from, from)
		if len(w.out) > limit+maxTypeText+maxColumnName+len(data) {
			t.Fatalf("%d bytes out of %d", len(w.out), len(data))
		}
		if err != nil {
			return
		}
		// What was accepted is accepted again, whichever way it arrives, and gives the same.
		again := walker{in: newInput(oneByte{bytes.NewReader(w.out)}), limit: limit + 1<<20}
		h2, err := again.walk(from, from)
		if err != nil || !bytes.Equal(again.out, w.out) || h2.rows != h.rows || len(h2.columns) != len(h.columns) {
			t.Fatalf("second walk: %v", err)
		}
	})
}

func FuzzStatement(f *testing.F) {
	for _, s := range []string{
		"SELECT 1", "INSERT INTO t (a, `b c`) VALUES (1, 2)", "insert into table function null('a Int8') select 1", "INSERT INTO a.b FORMAT CSV\n1,2",
		"WITH 1 AS x SELECT x FORMAT JSON SETTINGS a=1", "SELECT ';' ; -- c", "SELECT $t$ ; $t$", "/* x", "SELECT 'a", "CREATE TEMPORARY TABLE t (a Int8)", ";;",
		"INSERT INTO t (* EXCEPT (a)) SETTINGS x = 'FORMAT' FORMAT TSV", "((SELECT 1))", "SELECT format format TSV", "INSERT INTO t(", "EXPLAIN SELECT 1 FORMAT TSV;",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		st := parseStatement(sql)
		if st.kind == kindInsert && (st.data < 0 || st.data > len(sql) || len(st.head) > len(sql)) {
			t.Fatalf("%+v of %q", st, sql)
		}
		identifiers(st.columns)
	})
}

func TestStatements(t *testing.T) {
	for _, c := range []struct {
		sql  string
		want statement
	}{
		{"SELECT 1;", statement{kind: kindSelect, text: "SELECT 1"}},
		{" -- x\n (SELECT 1)", statement{kind: kindSelect, text: " -- x\n (SELECT 1)"}},
		{"SELECT 1 format TSV ; ", statement{kind: kindSelect, text: "SELECT 1  ", format: "TSV"}},
		{"SELECT 1 FORMAT TSV SETTINGS a=1", statement{kind: kindSelect, text: "SELECT 1  SETTINGS a=1", format: "TSV"}},
		{"SELECT a AS format", statement{kind: kindSelect, text: "SELECT a AS format"}},
		{"SELECT 'x' ORDER BY format DESC", statement{kind: kindSelect, text: "SELECT 'x' ORDER BY format DESC"}},
		{"SELECT * FROM t FORMAT Null", statement{kind: kindSelect, text: "SELECT * FROM t ", format: "Null"}},
		{"SELECT 1; SELECT 2", statement{kind: kindMultiple, text: "SELECT 1; SELECT 2"}},
		{"SELECT 1;;", statement{kind: kindSelect, text: "SELECT 1"}},
		{"SELECT `;` -- ;", statement{kind: kindSelect, text: "SELECT `;` -- ;"}},
		{"", statement{}},
		{" ; ", statement{}},
		{"SHOW TABLES FORMAT CSV", statement{kind: kindRead, text: "SHOW TABLES ", format: "CSV"}},
		{"CREATE OR REPLACE TEMPORARY TABLE x (a Int8)", statement{kind: kindTemp, text: "CREATE OR REPLACE TEMPORARY TABLE x (a Int8)"}},
		{"INSERT INTO t SELECT 1", statement{kind: kindOther, text: "INSERT INTO t SELECT 1"}},
		{"INSERT INTO t (SELECT 1)", statement{kind: kindOther, text: "INSERT INTO t (SELECT 1)"}},
		{"INSERT INTO t", statement{kind: kindInsert, text: "INSERT INTO t", head: "INSERT INTO t", target: "t", data: 13}},
		{
			"INSERT INTO TABLE a.`b` (x, `y`) VALUES",
			statement{kind: kindInsert, text: "INSERT INTO TABLE a.`b` (x, `y`)", head: "INSERT INTO TABLE a.`b` (x, `y`)", target: "a.`b`", columns: "x, `y`", format: "Values", data: 39},
		},
		{
			"INSERT INTO t FORMAT CSV\n1,2\n",
			statement{kind: kindInsert, text: "INSERT INTO t", head: "INSERT INTO t", target: "t", format: "CSV", data: 25, inline: true},
		},
		{
			"INSERT INTO FUNCTION null('a Int8') VALUES (1)",
			statement{kind: kindInsert, text: "INSERT INTO FUNCTION null('a Int8')", head: "INSERT INTO FUNCTION null('a Int8')", target: "null('a Int8')", format: "Values", data: 42, inline: true},
		},
	} {
		if got := parseStatement(c.sql); got != c.want {
			t.Errorf("%q\n got %+v\nwant %+v", c.sql, got, c.want)
		}
	}
}

// TestWalkMemory holds a claim of many rows against what was sent.
func TestWalkMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, typ := range []string{"UInt256", "String", "Array(String)", "Nullable(UInt64)", "LowCardinality(String)", "Tuple(String, String)", "AggregateFunction(count)"} {
		w := walker{in: newInput(strings.NewReader(string(block(1<<26, typ, make([]byte, 100)...)))), limit: 1 << 40}
		if _, err := w.walk(nativeFormat, nativeFormat); err == nil {
			t.Errorf("%s: a block of 100 bytes gave 64 million rows", typ)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d bytes were allocated for %d that came", got, 700)
	}
}
