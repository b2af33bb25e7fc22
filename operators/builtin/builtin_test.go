package builtin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/operators"
)

func typeOf(t testing.TB, s string) (batch.Type, bool) {
	t.Helper()
	typ, null, err := batch.ParseType(s)
	if err != nil {
		t.Fatal(err)
	}
	return typ, null
}

func schemaOf(t testing.TB, fields ...string) *batch.Schema {
	t.Helper()
	s := &batch.Schema{}
	for _, f := range fields {
		name, typ, _ := strings.Cut(f, ":")
		ty, null := typeOf(t, typ)
		s.Fields = append(s.Fields, batch.Field{Name: name, Type: ty, Nullable: null})
	}
	return s
}

// batchOf makes a batch from rows of Go values; nil is null. Without origins it has rows nobody can trace.
func batchOf(t testing.TB, s *batch.Schema, origins bool, rows ...[]any) *batch.Batch {
	t.Helper()
	b := &batch.Batch{}
	b.Begin(s, batch.Partition{Topic: "t"}, make([]batch.Record, len(rows)))
	b.Rows = len(rows)
	for i, f := range s.Fields {
		c := &b.Cols[i]
		off := []int32{0}
		c.Validity = make([]byte, batch.BitmapLen(len(rows)))
		batch.FillBits(c.Validity, len(rows))
		if f.Type.Kind == batch.Bool {
			c.Values = make([]byte, batch.BitmapLen(len(rows)))
		} else if w := f.Type.Width(); w > 0 {
			c.Values = batch.Bytes(make([]uint64, len(rows)))[:w*len(rows)]
		}
		for r, row := range rows {
			switch v := row[i].(type) {
			case nil:
				batch.ClearBit(c.Validity, r)
				c.Nulls++
			case string:
				c.Values = append(c.Values, v...)
			case bool:
				if v {
					batch.SetBit(c.Values, r)
				}
			case float64:
				batch.As[float64](c.Values)[r] = v
			case int:
				switch f.Type.Width() {
				case 1:
					batch.As[int8](c.Values)[r] = int8(v)
				case 4:
					batch.As[int32](c.Values)[r] = int32(v)
				default:
					batch.As[int64](c.Values)[r] = int64(v)
				}
			default:
				t.Fatalf("value %T", v)
			}
			off = append(off, int32(len(c.Values)))
		}
		if f.Type.Variable() {
			c.Offsets = batch.Bytes(off)
		}
		if c.Nulls == 0 {
			c.Validity = nil
		}
	}
	if origins {
		o := b.Origins(len(rows))
		for i := range o {
			o[i] = int32(i)
		}
		b.Origin = o
	}
	return b
}

// rowsOf renders a batch and its accounts.
func rowsOf(b *batch.Batch) string {
	var s strings.Builder
	for i := range b.Rows {
		s.Write(b.RowJSON(i))
		s.WriteByte('\n')
	}
	if b.Filtered > 0 {
		fmt.Fprintf(&s, "filtered %d\n", b.Filtered)
	}
	for _, r := range b.Rejects {
		fmt.Fprintf(&s, "reject %d %s %s: %s", r.Record, r.Step, r.Reason, r.Detail)
		if r.Payload != nil {
			fmt.Fprintf(&s, " %s", r.Payload)
		}
		s.WriteByte('\n')
	}
	return s.String()
}

// open makes an instance with a range of its own of one slot, and fails the test if a slot is still taken at its end.
func open(t testing.TB, s operators.Step, slotSize int) operators.Operator {
	t.Helper()
	pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: slotSize}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := s.Open(context.Background(), operators.Env{Pool: pool, Range: pool.Range(0)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := op.Close(); err != nil {
				t.Error(err)
			}
		}
		if slot, err := pool.Range(0).Acquire(); err != nil {
			t.Error("the slot was not given back")
		} else {
			slot.Release()
		}
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return op
}

var sensors = [][]any{
	{"a", "ok", 20.5, 1},
	{"b", "ok", -50.0, 2},
	{"c", "bad", 30.0, 3},
	{"d", nil, 10.0, 4},
	{"e", "ok", nil, 5},
	{"f", "ok", 22.0, nil},
}

func sensorSchema(t testing.TB) *batch.Schema {
	return schemaOf(t, "device:string", "status:string?", "temp:float64?", "n:int64?")
}

func process(t testing.TB, s operators.Step, b *batch.Batch) string {
	t.Helper()
	op := open(t, s, 1<<20)
	if err := op.Process(context.Background(), b); err != nil {
		t.Fatal(err)
	}
	if !b.Schema.Equal(s.Out()) || len(b.Cols) != len(s.Out().Fields) {
		t.Errorf("the batch has schema %s, the step says %s", b.Schema, s.Out())
	}
	got := rowsOf(b)
	b.Release()
	return got
}

func TestSteps(t *testing.T) {
	in := sensorSchema(t)
	ts := schemaOf(t, "s:string", "i:int64?", "f:float64", "ts:timestamp[ms]", "b:bool")
	tsRows := [][]any{{"12", 300, 1.9, 1999, true}, {"x", nil, math.Inf(1), -1, false}, {"999999999999", 5, 2.0, 0, true}}
	type made struct {
		s   operators.Step
		err error
	}
	step := func(s operators.Step, err error) made { return made{s, err} }
	for _, c := range []struct {
		name   string
		step   made
		rows   [][]any
		origin bool
		schema string
		want   string
	}{
		{
			"filter", step(NewFilter("0 filter", in, `status == "ok" && temp > -40`)), sensors, true,
			"device: string, status: string?, temp: float64?, n: int64?",
			`{"device":"a","status":"ok","temp":20.5,"n":1}
{"device":"f","status":"ok","temp":22,"n":null}
filtered 4
`,
		},
		{
			"filter none", step(NewFilter("0 filter", in, `device == "z"`)), sensors, true,
			"device: string, status: string?, temp: float64?, n: int64?", "filtered 6\n",
		},
		{
			"filter rejects", step(NewFilter("0 filter", in, `12 % (n - 3) == 0`)), sensors, true,
			"device: string, status: string?, temp: float64?, n: int64?",
			`{"device":"a","status":"ok","temp":20.5,"n":1}
{"device":"b","status":"ok","temp":-50,"n":2}
{"device":"d","status":null,"temp":10,"n":4}
{"device":"e","status":"ok","temp":null,"n":5}
filtered 1
reject 2 0 filter expression: division by zero in 12 % (n - 3)
`,
		},
		{
			"filter rejects an untraced row", step(NewFilter("0 filter", in, `12 % (n - 3) == 0 && n == 1`)), sensors, false,
			"device: string, status: string?, temp: float64?, n: int64?",
			`{"device":"a","status":"ok","temp":20.5,"n":1}
filtered 4
reject -1 0 filter expression: division by zero in 12 % (n - 3) {"device":"c","status":"bad","temp":30,"n":3}
`,
		},
		{
			"map", step(NewMap("1 map", in, []Assign{{"temp_f", "temp * 9 / 5 + 32"}, {"n", "(n ?? 0) + 1"}, {"m", "n * 10"}})), sensors[4:], true,
			"device: string, status: string?, temp: float64?, n: int64, temp_f: float64?, m: int64",
			`{"device":"e","status":"ok","temp":null,"n":6,"temp_f":null,"m":60}
{"device":"f","status":"ok","temp":22,"n":1,"temp_f":71.6,"m":10}
`,
		},
		{
			"map rejects", step(NewMap("1 map", in, []Assign{{"k", "10 % (n - 3)"}, {"j", "10 % (n - 3) + 10 % (n - 4)"}})), sensors, true,
			"device: string, status: string?, temp: float64?, n: int64?, k: int64?, j: int64?",
			`{"device":"a","status":"ok","temp":20.5,"n":1,"k":0,"j":1}
{"device":"b","status":"ok","temp":-50,"n":2,"k":0,"j":0}
{"device":"e","status":"ok","temp":null,"n":5,"k":0,"j":0}
{"device":"f","status":"ok","temp":22,"n":null,"k":null,"j":null}
reject 2 1 map expression: k: division by zero in 10 % (n - 3)
reject 3 1 map expression: j: division by zero in 10 % (n - 4)
`,
		},
		{
			"map a column", step(NewMap("1 map", in, []Assign{{"copy", "temp"}, {"temp", "string(temp)"}})), sensors[:1], true,
			"device: string, status: string?, temp: string?, n: int64?, copy: float64?",
			`{"device":"a","status":"ok","temp":"20.5","n":1,"copy":20.5}` + "\n",
		},
		{
			"drop", step(NewDrop("2 drop", in, []string{"status", "device"})), sensors[:1], true,
			"temp: float64?, n: int64?", `{"temp":20.5,"n":1}` + "\n",
		},
		{
			"rename swaps", step(NewRename("3 rename", in, []Rename{{"device", "status"}, {"status", "device"}, {"n", "m"}})), sensors[:1], true,
			"status: string, device: string?, temp: float64?, m: int64?", `{"status":"a","device":"ok","temp":20.5,"m":1}` + "\n",
		},
		{
			"cast", step(NewCast("4 cast", ts, []Cast{
				{"s", batch.Type{Kind: batch.Int32}, false},
				{"f", batch.Type{Kind: batch.Uint8}, true},
				{"ts", batch.TimestampOf(batch.Second), false},
				{"b", batch.Type{Kind: batch.String}, false},
			})), tsRows, true,
			"s: int32, i: int64?, f: uint8?, ts: timestamp[s], b: string",
			`{"s":12,"i":300,"f":1,"ts":"1970-01-01T00:00:01Z","b":"true"}
reject 1 4 cast wrong_type: column s: "x" is no int32
reject 2 4 cast out_of_range: column s: "999999999999" does not fit int32
`,
		},
		{
			"cast to nullable", step(NewCast("4 cast", ts, []Cast{
				{"s", batch.Type{Kind: batch.Float64}, true},
				{"i", batch.Type{Kind: batch.Int8}, true},
				{"f", batch.Type{Kind: batch.Float32}, true},
				{"ts", batch.Type{Kind: batch.Date32}, true},
			})), tsRows, true,
			"s: float64?, i: int8?, f: float32?, ts: date32?, b: bool",
			`{"s":12,"i":null,"f":1.9,"ts":"1970-01-01","b":true}
{"s":null,"i":null,"f":"Infinity","ts":"1969-12-31","b":false}
{"s":999999999999,"i":5,"f":2,"ts":"1970-01-01","b":true}
`,
		},
		{
			"cast rejects nulls", step(NewCast("4 cast", ts, []Cast{{"i", batch.Type{Kind: batch.Int64}, false}})), tsRows, false,
			"s: string, i: int64, f: float64, ts: timestamp[ms], b: bool",
			`{"s":"12","i":300,"f":1.9,"ts":"1970-01-01T00:00:01.999Z","b":true}
{"s":"999999999999","i":5,"f":2,"ts":"1970-01-01T00:00:00.000Z","b":true}
reject -1 4 cast missing: column i: null {"s":"x","i":null,"f":"Infinity","ts":"1969-12-31T23:59:59.999Z","b":false}
`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.step.err != nil {
				t.Fatal(c.step.err)
			}
			s := c.step.s
			if got := s.Out().String(); got != c.schema {
				t.Errorf("schema\n got %s\nwant %s", got, c.schema)
			}
			if got := process(t, s, batchOf(t, s.In(), c.origin, c.rows...)); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if got := process(t, s, batchOf(t, s.In(), c.origin)); got != "" {
				t.Errorf("no rows gave\n%s", got)
			}
		})
	}
}

func TestConstructorErrors(t *testing.T) {
	in := sensorSchema(t)
	for _, c := range []struct {
		name   string
		err    func() error
		key    string
		offset int
		isName bool
		want   string
	}{
		{"filter", func() error { _, err := NewFilter("f", in, "temp > stats"); return err }, "", 7, false, `unknown column "stats": did you mean status?`},
		{"filter type", func() error { _, err := NewFilter("f", in, "temp"); return err }, "", 0, false, `a filter must be true or false, this is float64: compare it with something, for example x > 0`},
		{"map", func() error { _, err := NewMap("m", in, []Assign{{"a", "temp"}, {"b", "a + device"}}); return err }, "b", 2, false, `b: cannot compute float64 + string: convert one side: string(x), float(x) or int(x)`},
		{"map twice", func() error { _, err := NewMap("m", in, []Assign{{"a", "1"}, {"a", "2"}}); return err }, "a", 0, true, `a: the column is assigned twice in this step: use two map steps`},
		{"map name", func() error { _, err := NewMap("m", in, []Assign{{"a\n", "1"}}); return err }, "a\n", 0, true, "a\n: the column name has the control character U+000A"},
		{"map nothing", func() error { _, err := NewMap("m", in, nil); return err }, "", 0, false, `map has no assignment: write name: expression`},
		{"drop", func() error { _, err := NewDrop("d", in, []string{"tmp"}); return err }, "tmp", 0, true, `tmp: unknown column "tmp": did you mean temp?`},
		{"drop all", func() error { _, err := NewDrop("d", in, in.Names()); return err }, "", 0, false, `drop would leave no column: keep at least one`},
		{"drop twice", func() error { _, err := NewDrop("d", in, []string{"n", "n"}); return err }, "n", 0, true, `n: the column is named twice`},
		{"rename", func() error { _, err := NewRename("r", in, []Rename{{"Temp", "t"}}); return err }, "Temp", 0, true, `Temp: unknown column "Temp": did you mean temp?`},
		{"rename onto", func() error { _, err := NewRename("r", in, []Rename{{"temp", "n"}}); return err }, "temp", 0, false, `temp: there would be two columns "n": drop or rename the other one`},
		{"rename both", func() error { _, err := NewRename("r", in, []Rename{{"temp", "x"}, {"n", "x"}}); return err }, "temp", 0, false, `temp: there would be two columns "x": drop or rename the other one`},
		{"rename empty", func() error { _, err := NewRename("r", in, []Rename{{"temp", ""}}); return err }, "temp", 0, false, `temp: a column needs a name`},
		{"cast", func() error {
			_, err := NewCast("c", in, []Cast{{"temp", batch.Type{Kind: batch.Bool}, false}})
			return err
		}, "temp", 0, false, `temp: cannot cast temp from float64 to bool: write the condition in a map step, for example x != 0`},
		{"cast unknown", func() error {
			_, err := NewCast("c", in, []Cast{{"x", batch.Type{Kind: batch.Bool}, false}})
			return err
		}, "x", 0, true, `x: unknown column "x": there are device, status, temp, n`},
	} {
		err := c.err()
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v", c.name, err)
			continue
		}
		if e.Error() != c.want || e.Key != c.key || e.Offset != c.offset || e.Name != c.isName {
			t.Errorf("%s\n got %q %d %v %s\nwant %q %d %v %s", c.name, e.Key, e.Offset, e.Name, e.Error(), c.key, c.offset, c.isName, c.want)
		}
	}
}

func TestNoSlotLeavesTheBatch(t *testing.T) {
	s, err := NewFilter("0 filter", sensorSchema(t), "temp > 0")
	if err != nil {
		t.Fatal(err)
	}
	pool, err := batch.NewPool([]batch.RangeSpec{{Slots: 1, SlotSize: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	op, err := s.Open(t.Context(), operators.Env{Pool: pool, Range: pool.Range(0)})
	if err != nil {
		t.Fatal(err)
	}
	slot, err := pool.Range(0).Acquire()
	if err != nil {
		t.Fatal(err)
	}
	b := batchOf(t, s.In(), true, sensors...)
	before := rowsOf(b)
	if err := op.Process(t.Context(), b); !errors.Is(err, batch.ErrNoSlot) {
		t.Fatalf("error %v, want ErrNoSlot", err)
	}
	if got := rowsOf(b); got != before {
		t.Errorf("the batch changed to\n%s", got)
	}
	slot.Release()
	if err := op.Process(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Rows != 4 || b.Filtered != 2 {
		t.Errorf("%d rows, %d filtered", b.Rows, b.Filtered)
	}
	b.Release()
}

func TestFilterAllPassMovesNothing(t *testing.T) {
	s, err := NewFilter("0 filter", sensorSchema(t), `device != ""`)
	if err != nil {
		t.Fatal(err)
	}
	b := batchOf(t, s.In(), true, sensors...)
	before := &b.Cols[0].Values[0]
	if err := open(t, s, 1).Process(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Rows != 6 || &b.Cols[0].Values[0] != before {
		t.Error("the columns were copied")
	}
}
