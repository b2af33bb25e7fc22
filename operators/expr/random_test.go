package expr

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

var randomColumns = []string{
	"i8 int8", "i32 int32?", "i int64", "j int64?", "u16 uint16", "u uint64?", "v uint64",
	"f float64", "g float64?", "h float32?", "s string", "t string?", "p bool", "q bool?", "ms timestamp[ms]", "sec timestamp[s]?",
}

// randomBatch has extreme values, nulls in half of its nullable columns, and a row count around the chunk size.
func randomBatch(r *rand.Rand) *batch.Batch {
	rows := []int{0, 1, 2, 7, 63, 64, 65, 200, chunk - 1, chunk, chunk + 1, 2*chunk + 77}[r.IntN(12)]
	b := &batch.Batch{Schema: &batch.Schema{}, Rows: rows}
	ints := []int64{0, 1, -1, 2, 3, 7, 100, -40, math.MaxInt64, math.MinInt64, math.MaxInt32}
	floats := []float64{0, 1, -1, 0.5, -2.5, 1e300, math.Inf(1), math.NaN(), 21.5, math.Copysign(0, -1)}
	texts := []string{"", "a", "ok", "OK", "okay", "err", "12345678", "123456789", "é", "a-b-c", " x ", "12", "-7", "long enough to be more than a word"}
	for _, c := range randomColumns {
		name, typ, _ := strings.Cut(c, " ")
		t, null := mustType(typ)
		withNulls := null && r.IntN(2) == 0
		density := 1 + r.IntN(10)
		values := make([]any, rows)
		for i := range values {
			n := ints[r.IntN(len(ints))]
			if r.IntN(3) == 0 {
				n = int64(r.IntN(1000))
			}
			switch {
			case withNulls && r.IntN(10) < density:
			case t.Kind == batch.Bool:
				values[i] = r.IntN(2) == 0
			case t.Float():
				values[i] = floats[r.IntN(len(floats))]
				if t.Kind == batch.Float32 {
					values[i] = float64(float32(values[i].(float64)))
				}
			case t.Variable():
				values[i] = texts[r.IntN(len(texts))]
			case t.Kind == batch.Timestamp:
				values[i] = r.Int64N(8e12) - 4e12
				if t.Unit == batch.Second {
					values[i] = r.Int64N(8e9) - 4e9
				}
			default:
				values[i] = n
			}
		}
		b.Schema.Fields = append(b.Schema.Fields, batch.Field{Name: name, Type: t, Nullable: null})
		b.Cols = append(b.Cols, columnOf(t, values...))
	}
	return b
}

// generator writes random expressions of a wanted type. Branches that meet are of one type, as a row at a time has no way
// to know what the other rows' branch would have made of an integer.
type generator struct{ *rand.Rand }

func (g generator) pick(options ...string) string { return options[g.IntN(len(options))] }

func (g generator) of(kind byte, depth int) string {
	if depth <= 0 {
		return g.leaf(kind)
	}
	sub := func(k byte) string { return g.of(k, depth-1-g.IntN(2)) }
	if g.IntN(8) == 0 {
		switch g.IntN(3) {
		case 0:
			return fmt.Sprintf("(%s ? %s : %s)", sub('b'), sub(kind), sub(kind))
		case 1:
			return fmt.Sprintf("((%s) ?? (%s))", sub(kind), sub(kind))
		default:
			return fmt.Sprintf("coalesce(%s, nil, %s)", sub(kind), sub(kind))
		}
	}
	switch kind {
	case 'b':
		cmp := g.pick("==", "!=", "<", "<=", ">", ">=")
		switch g.IntN(13) {
		case 0, 1:
			return fmt.Sprintf("(%s && %s)", sub('b'), sub('b'))
		case 2, 3:
			return fmt.Sprintf("(%s || %s)", sub('b'), sub('b'))
		case 4:
			return fmt.Sprintf("!(%s)", sub('b'))
		case 5:
			return fmt.Sprintf("(%s %s %s)", sub('i'), cmp, sub(g.pick("i", "f", "u")[0]))
		case 6:
			return fmt.Sprintf("(%s %s %s)", sub('f'), cmp, sub('f'))
		case 7:
			return fmt.Sprintf("(%s %s %s)", sub('s'), cmp, sub('s'))
		case 8:
			return fmt.Sprintf("(%s %s %s)", sub('s'), g.pick("contains", "startsWith", "endsWith"), sub('s'))
		case 9:
			return fmt.Sprintf("(%s %s nil)", sub(g.pick("b", "i", "f", "s", "t")[0]), g.pick("==", "!="))
		case 10:
			return fmt.Sprintf("(%s in [%s])", g.leaf('u'), g.pick("1, 2, 3", "-1, 7", "1,2,3,4,5,6,7,8,9,100"))
		case 11:
			return fmt.Sprintf("(%s in [%s])", sub('s'), g.pick(`"ok", "err"`, `"", "a"`, `"a","b","c","d","e","f","g","ok","é"`))
		default:
			return g.pick(fmt.Sprintf("(%s %s %s)", sub('t'), cmp, sub('t')), fmt.Sprintf(`(%s matches "^[a-z]+$")`, sub('s')),
				fmt.Sprintf("(%s == %s)", sub('b'), sub('b')), fmt.Sprintf("isNull(%s)", sub('i')), fmt.Sprintf("(u %s %s)", cmp, sub('i')))
		}
	case 'i':
		switch g.IntN(8) {
		case 0, 1, 2:
			return fmt.Sprintf("(%s %s %s)", sub('i'), g.pick("+", "-", "*", "%"), sub(g.pick("i", "i", "u")[0]))
		case 3:
			return g.pick("-", "abs") + "(" + sub('i') + ")"
		case 4:
			return fmt.Sprintf("%s(%s, %s)", g.pick("min", "max"), sub('i'), sub('i'))
		case 5:
			return fmt.Sprintf("int(%s)", sub(g.pick("f", "s", "b", "u")[0]))
		case 6:
			return fmt.Sprintf("%s(%s)", g.pick("hour", "minute", "second", "year", "month", "day", "dayOfWeek", "toUnix", "toUnixMilli"), sub('t'))
		default:
			return fmt.Sprintf("len(%s)", sub('s'))
		}
	case 'f':
		switch g.IntN(6) {
		case 0, 1:
			return fmt.Sprintf("(%s %s %s)", sub('f'), g.pick("+", "-", "*", "/"), sub(g.pick("i", "f")[0])) // beside a null, one row cannot tell whether a uint64 meets a float
		case 2:
			return fmt.Sprintf("(%s / %s)", sub('i'), sub('i'))
		case 3:
			return fmt.Sprintf("%s(%s)", g.pick("abs", "floor", "ceil", "round", "sqrt", "-"), sub('f'))
		case 4:
			return fmt.Sprintf("%s(%s, %s)", g.pick("min", "max"), sub('f'), sub('f'))
		default:
			return fmt.Sprintf("float(%s)", sub(g.pick("i", "u", "f")[0]))
		}
	case 's':
		switch g.IntN(6) {
		case 0, 1:
			return fmt.Sprintf("(%s + %s)", sub('s'), sub('s'))
		case 2:
			return fmt.Sprintf("%s(%s)", g.pick("lower", "upper", "trim"), sub('s'))
		case 3:
			return fmt.Sprintf("substr(%s, %s, %s)", sub('s'), sub('i'), g.pick("0", "1", "3"))
		case 4:
			return g.pick(fmt.Sprintf(`splitPart(%s, "-", %s)`, sub('s'), sub('i')), fmt.Sprintf(`replace(%s, "a", "%s")`, sub('s'), g.pick("", "bb")))
		default:
			return fmt.Sprintf("string(%s)", sub(g.pick("i", "f", "b", "u", "t")[0]))
		}
	case 't':
		switch g.IntN(2) {
		case 0:
			return fmt.Sprintf(`(%s %s duration("%s"))`, sub('t'), g.pick("+", "-"), g.pick("5s", "1h", "-3s"))
		default:
			return fmt.Sprintf(`trunc(%s, duration("%s"))`, sub('t'), g.pick("1s", "10m", "7h"))
		}
	}
	return g.leaf(kind)
}

func (g generator) leaf(kind byte) string {
	switch kind {
	case 'b':
		return g.pick("p", "q", "true", "false")
	case 'i':
		return g.pick("i8", "i32", "i", "j", "u16", "0", "1", "7", "-3", "100", "9223372036854775807")
	case 'u':
		return g.pick("u", "v")
	case 'f':
		return g.pick("f", "g", "h", "0.5", "21.5", "0.0", "1e300")
	case 's':
		return g.pick("s", "t", `""`, `"ok"`, `"-"`, `"é"`, `"12345678"`)
	default:
		return g.pick("ms", "ms", "ms") // one unit: as with numbers, mixed branches have a type that one row cannot know
	}
}
