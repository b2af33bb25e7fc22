package decode

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
)

// value declares a column of the record's value; the path is the name where none is given.
func value(name, typ string, path ...string) schema.Column {
	t, nullable, err := batch.ParseType(typ)
	if err != nil {
		panic(err)
	}
	if len(path) == 0 {
		path = []string{name}
	}
	return schema.Column{Field: batch.Field{Name: name, Type: t, Nullable: nullable}, Path: path, Epoch: batch.Millisecond}
}

func epoch(u batch.Unit, c schema.Column) schema.Column {
	c.Epoch = u
	return c
}

// decodeAll decodes records batch by batch, in fresh memory of arena bytes each, and returns each record's row, or its
// reject. It checks what must hold of every batch.
func decodeAll(t testing.TB, cols schema.Columns, opts Options, arena int, records []batch.Record, part batch.Partition) (rows [][]any, rejects []*batch.Reject, batches int) {
	t.Helper()
	d, err := New("json", cols, opts)
	if err != nil {
		t.Fatal(err)
	}
	mem, poison := batch.Bytes(make([]uint64, (arena+7)/8)), bytes.Repeat([]byte{0xa5}, arena)
	var b batch.Batch
	for len(records) > 0 {
		copy(mem, poison)
		a := batch.NewArena(mem)
		b.Begin(d.Schema(), part, records)
		d.Decode(&b, &a)
		checkBatch(t, &b)
		took := len(b.Records)
		if took == 0 || took > len(records) {
			t.Fatalf("took %d of %d records", took, len(records))
		}
		n := len(rows)
		rows, rejects = append(rows, make([][]any, took)...), append(rejects, make([]*batch.Reject, took)...)
		for i, rec := range b.Origin {
			rows[n+int(rec)] = rowOf(&b, i)
		}
		for i := range b.Rejects {
			r := b.Rejects[i]
			if r.Step != "decode" || r.Detail == "" || !utf8.ValidString(r.Detail) || len(r.Detail) > 1000 || strings.ContainsAny(r.Detail, "\n\r\x00") {
				t.Fatalf("reject %+v", r)
			}
			rejects[n+int(r.Record)] = &r
		}
		for i := n; i < n+took; i++ {
			if (rows[i] == nil) == (rejects[i] == nil) {
				t.Fatalf("record %d: row %v, reject %v", i, rows[i], rejects[i])
			}
		}
		records = records[took:]
		batches++
	}
	return rows, rejects, batches
}

// checkBatch checks the layout that steps rely on.
func checkBatch(t testing.TB, b *batch.Batch) {
	t.Helper()
	if int64(b.Rows+len(b.Rejects))+b.Filtered != int64(b.Begun())+b.Expanded || len(b.Origin) != b.Rows {
		t.Fatalf("%d rows + %d rejects of %d records, %d origins", b.Rows, len(b.Rejects), len(b.Records), len(b.Origin))
	}
	for i := range b.Cols {
		c, f := &b.Cols[i], b.Schema.Fields[i]
		if (c.Validity == nil) != (c.Nulls == 0) {
			t.Fatalf("%v: %d nulls, validity %v", f, c.Nulls, c.Validity)
		}
		if c.Validity != nil {
			if !f.Nullable || len(c.Validity) != batch.BitmapLen(b.Rows) || b.Rows-batch.CountBits(c.Validity, b.Rows) != c.Nulls {
				t.Fatalf("%v: validity %x of %d rows, %d nulls", f, c.Validity, b.Rows, c.Nulls)
			}
			checkPadding(t, f, c.Validity, b.Rows)
		}
		for k := range b.Rows {
			// What is below a null is 0, so that equal rows are equal bytes.
			if !c.Valid(k) && f.Type.Kind != batch.List && (f.Type.Kind == batch.Bool && c.Bit(k) ||
				strings.Trim(string(c.Values[k*f.Type.Width():(k+1)*f.Type.Width()]), "\x00") != "") {
				t.Fatalf("%v: row %d is null and not 0", f, k)
			}
		}
		switch {
		case f.Type.Variable():
			off := batch.As[int32](c.Offsets)
			if len(off) != b.Rows+1 || off[0] != 0 || int(off[b.Rows]) != len(c.Values) {
				t.Fatalf("%v: offsets %v, %d bytes", f, off, len(c.Values))
			}
			for k := range b.Rows {
				if off[k] > off[k+1] || !c.Valid(k) && off[k] != off[k+1] {
					t.Fatalf("%v: offsets %v", f, off)
				}
				if f.Type.Kind == batch.String && !utf8.Valid(c.Bytes(k)) {
					t.Fatalf("%v: %q", f, c.Bytes(k))
				}
			}
		case f.Type.Kind == batch.List:
			off := batch.As[int32](c.Offsets)
			if len(off) != b.Rows+1 || off[0] != 0 {
				t.Fatalf("%v: offsets %v", f, off)
			}
			for k := range b.Rows {
				if off[k] > off[k+1] || !c.Valid(k) && off[k] != off[k+1] {
					t.Fatalf("%v: offsets %v", f, off)
				}
			}
			items := batch.Batch{Schema: &batch.Schema{Fields: []batch.Field{{Name: f.Name, Type: f.Type.Items()}}}, Rows: c.ItemCount(b.Rows), Cols: []batch.Column{c.Items()}}
			items.Records, items.Origin = make([]batch.Record, items.Rows), make([]int32, items.Rows)
			checkBatch(t, &items)
		case f.Type.Kind == batch.Bool:
			if len(c.Values) != batch.BitmapLen(b.Rows) {
				t.Fatalf("%v: %d bytes of %d rows", f, len(c.Values), b.Rows)
			}
			checkPadding(t, f, c.Values, b.Rows)
		default:
			if len(c.Values) != b.Rows*f.Type.Width() {
				t.Fatalf("%v: %d bytes of %d rows", f, len(c.Values), b.Rows)
			}
		}
	}
}

func checkPadding(t testing.TB, f batch.Field, bm []byte, rows int) {
	t.Helper()
	for i := rows; i < len(bm)*8; i++ {
		if bm[i>>3]&(1<<(i&7)) != 0 {
			t.Fatalf("%v: bit %d is set behind %d rows", f, i, rows)
		}
	}
}

// rowOf is row i as Go values, nil for null.
func rowOf(b *batch.Batch, i int) []any {
	row := make([]any, len(b.Cols))
	for k := range b.Cols {
		c, t := &b.Cols[k], b.Schema.Fields[k].Type
		if !c.Valid(i) {
			continue
		}
		switch t.Kind {
		case batch.Bool:
			row[k] = c.Bit(i)
		case batch.String, batch.Binary:
			row[k] = string(c.Bytes(i))
		case batch.Decimal:
			row[k] = string(batch.AppendDecimal(nil, c.Decimals()[i], int(t.Scale)))
		case batch.Float32:
			row[k] = batch.As[float32](c.Values)[i]
		case batch.Float64:
			row[k] = batch.As[float64](c.Values)[i]
		case batch.Int8:
			row[k] = int64(batch.As[int8](c.Values)[i])
		case batch.Int16:
			row[k] = int64(batch.As[int16](c.Values)[i])
		case batch.Int32, batch.Date32:
			row[k] = int64(batch.As[int32](c.Values)[i])
		case batch.Int64, batch.Timestamp:
			row[k] = batch.As[int64](c.Values)[i]
		case batch.Uint8:
			row[k] = uint64(batch.As[uint8](c.Values)[i])
		case batch.Uint16:
			row[k] = uint64(batch.As[uint16](c.Values)[i])
		case batch.Uint32:
			row[k] = uint64(batch.As[uint32](c.Values)[i])
		case batch.Uint64:
			row[k] = batch.As[uint64](c.Values)[i]
		case batch.List:
			items := batch.Batch{Schema: &batch.Schema{Fields: []batch.Field{{Type: t.Items()}}}, Cols: []batch.Column{c.Items()}}
			var list []any
			for lo, hi := c.Range(i); lo < hi; lo++ {
				list = append(list, rowOf(&items, lo)[0])
			}
			row[k] = listText(list)
		}
	}
	return row
}

// listText is a list as something that can be compared.
func listText(items []any) string {
	var text strings.Builder
	for _, v := range items {
		fmt.Fprintf(&text, "%T %#v, ", v, v)
	}
	return text.String()
}

func sameRow(a, b []any) bool {
	if len(a) != len(b) || (a == nil) != (b == nil) {
		return false
	}
	for i := range a {
		x, xok := a[i].(float64)
		y, yok := b[i].(float64)
		if xok && yok && math.Float64bits(x) == math.Float64bits(y) { // tells -0 from 0
			continue
		}
		if a[i] != b[i] || xok {
			return false
		}
	}
	return true
}

// verdict is what the oracle says of a record.
type verdict struct {
	row        []any // nil: to be rejected
	reason     batch.Reason
	duplicates bool // the record has a key twice: every value of it must fit, which the oracle does not see
	unsure     bool // beyond what the oracle can compute
}

// oracle decodes a record by encoding/json, big numbers and package time.
//
// Where the decoder is meant to differ from encoding/json: it refuses what is not UTF-8 and what is nested more than
// 64 deep; of a duplicate key the last value counts for both, but the decoder wants all of them to fit.
func oracle(cols schema.Columns, data []byte) verdict {
	if len(bytes.Trim(data, " \t\r\n")) == 0 {
		return verdict{reason: batch.ReasonEmpty}
	}
	if !stdjson.Valid(data) || !utf8.Valid(data) {
		return verdict{reason: batch.ReasonMalformed}
	}
	dec := stdjson.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return verdict{unsure: true}
	}
	duplicates, depth := shape(data)
	if depth > maxDepth {
		return verdict{reason: batch.ReasonMalformed}
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return verdict{reason: batch.ReasonWrongType}
	}
	out := verdict{row: make([]any, len(cols)), duplicates: duplicates}
	for i, c := range cols {
		x, found := any(obj), true
		for _, key := range c.Path {
			m, isObj := x.(map[string]any)
			if !isObj {
				if x != nil {
					return verdict{reason: batch.ReasonWrongType, duplicates: duplicates}
				}
				found = false
				break
			}
			x = m[key]
		}
		if !found || x == nil {
			if !c.Nullable {
				out.reason = batch.ReasonMissing
			}
			continue
		}
		var reason batch.Reason
		out.row[i], reason = oracleValue(c, x)
		if reason == "unsure" {
			return verdict{unsure: true}
		}
		if reason != "" {
			return verdict{reason: reason, duplicates: duplicates}
		}
	}
	if out.reason != "" {
		out.row = nil
	}
	return out
}

// shape tells whether an object of the text has a key twice, and how deep it is nested.
func shape(data []byte) (duplicates bool, depth int) {
	dec := stdjson.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	type level struct {
		keys map[string]bool
		key  bool // a key comes next
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return duplicates, depth
		}
		if err != nil {
			panic(err)
		}
		top := len(stack) - 1
		switch d, _ := tok.(stdjson.Delim); {
		case d == '}' || d == ']':
			stack = stack[:top]
			continue
		case top >= 0 && stack[top].key:
			k := tok.(string)
			duplicates = duplicates || stack[top].keys[k]
			stack[top].keys[k], stack[top].key = true, false
			continue
		default:
			if top >= 0 && stack[top].keys != nil {
				stack[top].key = true
			}
			if d == '{' {
				stack = append(stack, level{keys: map[string]bool{}, key: true})
			} else if d == '[' {
				stack = append(stack, level{})
			}
			depth = max(depth, len(stack))
		}
	}
}

func oracleValue(c schema.Column, x any) (any, batch.Reason) {
	t := c.Type
	switch x := x.(type) {
	case bool:
		if t.Kind == batch.Bool {
			return x, ""
		}
	case []any:
		if t.Kind != batch.List {
			break
		}
		c.Type = t.Items()
		var list []any
		for _, item := range x {
			if item == nil {
				return nil, batch.ReasonMissing
			}
			v, reason := oracleValue(c, item)
			if reason != "" {
				return nil, reason
			}
			list = append(list, v)
		}
		return listText(list), ""
	case string:
		switch t.Kind {
		case batch.String:
			return x, ""
		case batch.Binary:
			v, err := base64.StdEncoding.Strict().DecodeString(x)
			if err == nil && !strings.ContainsAny(x, "\r\n") {
				return string(v), ""
			}
		case batch.Date32:
			if v, err := time.Parse("2006-01-02", x); err == nil {
				return int64(math.Floor(float64(v.Unix()) / 86400)), ""
			}
		case batch.Timestamp:
			if strings.Contains(x, ":60") {
				return nil, "unsure"
			}
			if len(x) > 10 && x[10] == ' ' {
				x = x[:10] + "T" + x[11:]
			}
			var v time.Time
			if v.UnmarshalText([]byte(strings.ToUpper(x))) == nil {
				ns := new(big.Int).Mul(big.NewInt(v.Unix()), big.NewInt(1e9))
				ns.Add(ns, big.NewInt(int64(v.Nanosecond())))
				return floorTime(new(big.Rat).SetFrac(ns, big.NewInt(1e9)), t.Unit)
			}
		}
	case stdjson.Number:
		if t.Float() {
			size := 8 * t.Width()
			v, err := strconv.ParseFloat(string(x), size)
			if err != nil {
				return nil, batch.ReasonOutOfRange
			}
			if size == 32 {
				return float32(v), ""
			}
			return v, ""
		}
		if !t.Integer() && t.Kind != batch.Timestamp && t.Kind != batch.Date32 {
			break
		}
		if i := strings.IndexAny(string(x), "eE"); i >= 0 {
			if e, err := strconv.Atoi(string(x[i+1:])); err != nil || e > 3000 || e < -3000 {
				return nil, "unsure"
			}
		}
		r, ok := new(big.Rat).SetString(string(x))
		if !ok {
			panic(fmt.Sprintf("no number: %q", x))
		}
		if t.Kind == batch.Timestamp {
			return floorTime(r.Quo(r, big.NewRat(c.Epoch.PerSecond(), 1)), t.Unit)
		}
		if !r.IsInt() {
			return nil, batch.ReasonWrongType
		}
		n, bits := r.Num(), uint(8*t.Width())
		lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), bits)
		if !t.Unsigned() {
			hi.Rsh(hi, 1)
			lo.Neg(hi)
		}
		if n.Cmp(lo) < 0 || n.Cmp(hi) >= 0 {
			return nil, batch.ReasonOutOfRange
		}
		if t.Unsigned() {
			return n.Uint64(), ""
		}
		return n.Int64(), ""
	}
	return nil, batch.ReasonWrongType
}

// floorTime is a time in seconds as a whole number of a unit.
func floorTime(sec *big.Rat, u batch.Unit) (any, batch.Reason) {
	r := new(big.Rat).Mul(sec, big.NewRat(u.PerSecond(), 1))
	v := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean, so down for a positive denominator
	if !v.IsInt64() {
		return nil, batch.ReasonOutOfRange
	}
	return v.Int64(), ""
}
