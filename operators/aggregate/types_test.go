package aggregate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/weir-stream/weir/ingest/batch"
)

// typeGroups are the columns of the table of types in AGGREGATES.md.
var typeGroups = []struct {
	name  string
	types []string
}{
	{"bool", []string{"bool"}},
	{"integers", []string{"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}},
	{"floats", []string{"float32", "float64"}},
	{"decimals", []string{"decimal(9, 2)", "decimal(18, 4)", "decimal(19, 0)", "decimal(38, 10)"}},
	{"string, binary", []string{"string", "binary"}},
	{"date32", []string{"date32"}},
	{"timestamps", []string{"timestamp[s]", "timestamp[ms]", "timestamp[us]", "timestamp[ns]"}},
}

func typeNamed(name string) batch.Type {
	t, _, err := batch.ParseType(name)
	if err != nil {
		panic(err)
	}
	return t
}

// overType plans a function over a nullable column x of a type; a second argument is a float y or the time t.
func overType(info Info, t batch.Type) (*Aggregate, error) {
	s := Spec{Func: info.Name, Params: params[info.Name], Args: []batch.Field{{Name: "x", Type: t, Nullable: true}}}
	if info.Time {
		s.Args = append(s.Args, field("t"))
	} else if info.Args == 2 {
		s.Args = append(s.Args, field("f"))
	}
	return New(s)
}

// TestTypesTable holds the table in AGGREGATES.md to what can be planned.
func TestTypesTable(t *testing.T) {
	var table strings.Builder
	table.WriteString("| function |")
	for _, g := range typeGroups {
		table.WriteString(" " + g.name + " |")
	}
	table.WriteString("\n|---|" + strings.Repeat("---|", len(typeGroups)) + "\n")
	var rows []string
	names := map[string][]string{}
	for _, info := range Functions() {
		row := ""
		for _, g := range typeGroups {
			yes := 0
			for _, name := range g.types {
				if _, err := overType(info, typeNamed(name)); err == nil {
					yes++
				}
			}
			switch yes {
			case 0:
				row += "  |"
			case len(g.types):
				row += " yes |"
			default:
				t.Errorf("%s takes %d of %d types of %s: the table has no place for that", info.Name, yes, len(g.types), g.name)
			}
		}
		if names[row] == nil {
			rows = append(rows, row)
		}
		names[row] = append(names[row], "`"+info.Name+"`")
	}
	for _, row := range rows {
		table.WriteString("| " + strings.Join(names[row], ", ") + " |" + row + "\n")
	}
	doc, err := os.ReadFile("AGGREGATES.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("AGGREGATES.md has another table of types than\n%s", table.String())
	}
}

// typedColumn draws values of a type, and writes them as SQL of that type.
func typedColumn(rng *rand.Rand, t batch.Type, n int) (*batch.Column, string, []string) {
	c := &batch.Column{Validity: make([]byte, batch.BitmapLen(n)), Values: make([]byte, max(8, t.Width())*n)}
	if t.Kind == batch.Bool {
		c.Values = make([]byte, batch.BitmapLen(n))
	}
	offsets, text, sql := []int32{0}, []byte{}, make([]string, n)
	sqlType := strings.NewReplacer("uint", "UInt", "int", "Int", "float", "Float", "bool", "Bool", "date32", "Date32", "string", "String", "binary", "String", "decimal", "Decimal").Replace(t.String())
	if t.Kind == batch.Timestamp {
		sqlType = fmt.Sprintf("DateTime64(%d, 'UTC')", 3*int(t.Unit))
	}
	for i := range n {
		v, valid := rng.Int64N(60)+1, rng.IntN(4) > 0
		if valid {
			batch.SetBit(c.Validity, i)
		} else {
			c.Nulls++
		}
		sql[i] = fmt.Sprint(v)
		switch t.Kind {
		case batch.Bool:
			if v%2 == 1 {
				batch.SetBit(c.Values, i)
			}
			sql[i] = fmt.Sprint(v%2 == 1)
		case batch.String, batch.Binary:
			text = fmt.Appendf(text, "text-%d", v)
			sql[i] = fmt.Sprintf("'text-%d'", v)
		case batch.Float32:
			batch.As[float32](c.Values)[i] = float32(v) / 4
			sql[i] += "/4"
		case batch.Float64:
			batch.As[float64](c.Values)[i] = float64(v) / 4
			sql[i] += "/4"
		case batch.Decimal:
			v := batch.Int128Of(v*7 - 150)
			if t.Precision > 20 {
				v, _ = v.MulPow10(20)
			}
			c.Decimals()[i] = v
			sql[i] = fmt.Sprintf("'%s'", batch.AppendDecimal(nil, v, int(t.Scale)))
		case batch.Timestamp:
			batch.As[int64](c.Values)[i] = v * t.Unit.PerSecond()
			sql[i] = fmt.Sprintf("toDateTime64(%d, %d, 'UTC')", v, 3*int(t.Unit))
		default:
			if t.Integer() && !t.Unsigned() && v%3 == 0 {
				v = -v
			}
			sql[i] = fmt.Sprint(v)
			if t.Kind == batch.Date32 {
				sql[i] = fmt.Sprintf("toDate32(%d)", v)
			}
			w := t.Width()
			for b := range w {
				c.Values[i*w+b] = byte(uint64(v) >> (8 * b))
			}
		}
		if !valid {
			sql[i] = "NULL"
		}
		offsets = append(offsets, int32(len(text)))
	}
	if t.Variable() {
		c.Values, c.Offsets = text, batch.Bytes(offsets)
	}
	return c, sqlType, sql
}

// sqlArgument is x, a column without nulls, as the argument of a state.
func sqlArgument(info Info, t, of batch.Type) string {
	switch {
	case of == t || of.Kind == batch.String && t.Kind != batch.Decimal:
		return "x"
	case of.Kind == batch.String:
		return "CAST(reinterpretAsFixedString(x), 'String')"
	case t.Kind == batch.Decimal:
		return fmt.Sprintf("reinterpretAsUInt64(toDecimal64(x, %d))", t.Scale)
	case of.Kind == batch.Float64:
		return "toFloat64(x)"
	case of.Kind == batch.Uint8:
		return "toUInt8(x)"
	case t.Kind == batch.Timestamp:
		return fmt.Sprintf("toUInt64(toUnixTimestamp64Nano(toDateTime64(x, 9, 'UTC')) / %d)", 1_000_000_000/t.Unit.PerSecond())
	case info.Name == "group_bitmap" && !t.Unsigned():
		return "reinterpretAsUInt64(toInt64(x))"
	case t.Kind == batch.Date32:
		return "reinterpretAsUInt64(toInt32(x))"
	}
	return "reinterpretAsUInt64(x)"
}

// TestEveryType makes states of every function over columns of every type it takes, with nulls, goes on with them, and has ClickHouse finish
// those that are its own: its answer over the same rows must be the same.
func TestEveryType(t *testing.T) {
	conn := connect(t)
	rng := rand.New(rand.NewPCG(41, 42))
	const n = 12
	times := &batch.Column{Values: make([]byte, 8*n)}
	floats := &batch.Column{Values: make([]byte, 8*n)}
	for i := range n {
		batch.As[int64](times.Values)[i], batch.As[float64](floats.Values)[i] = int64(i)*1000, float64(i*5%13)
	}
	for _, g := range typeGroups {
		for _, name := range g.types {
			typ := typeNamed(name)
			c, sqlType, values := typedColumn(rng, typ, n)
			rows := make([]string, n)
			for i := range rows {
				rows[i] = fmt.Sprintf("(%d,CAST(%s, 'Nullable(%s)'),%d,toDateTime64(%d, 3, 'UTC'))", i, values[i], strings.ReplaceAll(sqlType, "'", "\\'"), i*5%13, i)
			}
			run(t, conn, fmt.Sprintf("CREATE OR REPLACE TABLE typed (row UInt32, y Nullable(%s), f Float64, t DateTime64(3, 'UTC')) ENGINE = Memory", sqlType))
			run(t, conn, "INSERT INTO typed SELECT * FROM values("+strings.Join(rows, ",")+")")
			var labels, sql []string
			for _, info := range Functions() {
				a, err := overType(info, typ)
				if err != nil {
					continue
				}
				args := []*batch.Column{c}
				if info.Time {
					args = append(args, times)
				} else if info.Args == 2 {
					args = append(args, floats)
				}
				acc := a.Accumulator()
				acc.Grow(1)
				acc.Add(make([]uint32, n), args)
				state := states0(a, acc)
				again := a.Accumulator()
				again.Grow(1)
				if err := again.Load([]uint32{0}, state); err != nil {
					t.Fatalf("%s(%s): %v", info.Name, name, err)
				}
				for i, s := range states0(a, again) {
					if !same0(s, state[i]) {
						t.Errorf("%s(%s): state %x was read and is %x", info.Name, name, state[i].Values, s.Values)
					}
				}
				if a.Finish != Function || info.Name == "histogram" || info.Name == "time_avg" {
					continue
				}
				function, params := a.Function, ""
				if open := strings.IndexByte(function, '('); open >= 0 {
					function, params = function[:open], function[open:]
				}
				arg := sqlArgument(info, typ, a.Of[0].Type)
				switch {
				case a.Map:
					arg = "map(x, f)"
				case info.Time:
					arg += ", t"
				case info.Args == 2:
					arg += ", f"
				}
				labels = append(labels, info.Name)
				sql = append(sql, fmt.Sprintf("toString(%[1]s%[2]s(%[3]s)), '%[4]X', toTypeName(%[1]sState%[2]s(%[3]s))", function, params, arg, state[0].Bytes(0)))
			}
			var answers []string
			if err := conn.QueryRow(t.Context(), "SELECT ["+strings.Join(sql, ",")+"] FROM (SELECT assumeNotNull(y) AS x, f, t FROM typed WHERE y IS NOT NULL ORDER BY row) SETTINGS max_threads = 1").Scan(&answers); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i, label := range labels {
				want, state, typ := answers[3*i], answers[3*i+1], strings.ReplaceAll(answers[3*i+2], "'", "\\'")
				got := ask(t, conn, fmt.Sprintf("SELECT toString(finalizeAggregation(CAST(unhex('%s'), '%s')))", state, typ))
				if !near(got, want, 1e-6) && label != "topk" {
					t.Errorf("%s(%s): ClickHouse makes %s of the state, and of the rows %s", label, name, got, want)
				}
			}
		}
	}
}
