package expr

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/weir-stream/weir/ingest/batch"
)

// naive is the language once more, written to be obviously right: one row at a time over the parse tree, Go values,
// big integers for overflow, the time package for times. It shares nothing with the columnar evaluation but the parser.
//
// Values are nil, bool, int64, uint64, float64, string, []byte as bin, time.Time with a unit as instant, and time.Duration.
type naive map[string]any

type (
	bin     string
	instant struct {
		time.Time
		unit batch.Unit
	}
	rowFails struct{}
)

func (row naive) eval(n ast.Node) any {
	switch n := n.(type) {
	case *ast.NilNode:
		return nil
	case *ast.IntegerNode:
		return int64(n.Value)
	case *ast.FloatNode:
		return n.Value
	case *ast.BoolNode:
		return n.Value
	case *ast.StringNode:
		return n.Value
	case *ast.IdentifierNode:
		return row[n.Value]
	case *ast.UnaryNode:
		v := row.eval(n.Node)
		switch v := v.(type) {
		case nil:
			return nil
		case bool:
			return !v
		case float64:
			return -v
		default:
			return fit(new(big.Int).Neg(bigOf(v)))
		}
	case *ast.ConditionalNode:
		if row.eval(n.Cond) == true {
			return row.eval(n.Exp1)
		}
		return row.eval(n.Exp2)
	case *ast.BinaryNode:
		return row.binary(n)
	case *ast.BuiltinNode:
		return row.call(n.Name, n.Arguments)
	case *ast.CallNode:
		return row.call(n.Callee.(*ast.IdentifierNode).Value, n.Arguments)
	}
	panic(fmt.Sprintf("naive: %T", n))
}

func bigOf(v any) *big.Int {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v)
	case uint64:
		return new(big.Int).SetUint64(v)
	}
	panic(fmt.Sprintf("naive: big of %T", v))
}

func fit(b *big.Int) int64 {
	if !b.IsInt64() {
		panic(rowFails{})
	}
	return b.Int64()
}

func floatOf(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case int64:
		return float64(v)
	default:
		return float64(v.(uint64))
	}
}

func (row naive) binary(n *ast.BinaryNode) any {
	l := row.eval(n.Left)
	switch n.Operator {
	case "&&", "and":
		if l == false {
			return false
		}
		r := row.eval(n.Right)
		switch {
		case r == false:
			return false
		case l == nil || r == nil:
			return nil
		}
		return true
	case "||", "or":
		if l == true {
			return true
		}
		r := row.eval(n.Right)
		switch {
		case r == true:
			return true
		case l == nil || r == nil:
			return nil
		}
		return false
	case "??":
		if l != nil {
			return l
		}
		return row.eval(n.Right)
	case "in":
		if l == nil {
			return nil
		}
		for _, item := range n.Right.(*ast.ArrayNode).Nodes {
			if compareAny(l, row.eval(item)) == 0 {
				return true
			}
		}
		return false
	}
	r := row.eval(n.Right)
	if _, ok := n.Right.(*ast.NilNode); ok {
		return (l == nil) == (n.Operator == "==")
	}
	// An integer that does not fit int64 fails even beside a null: operands are converted before they meet.
	switch n.Operator {
	case "+", "-", "*", "%":
		_, lf := l.(float64)
		_, rf := r.(float64)
		for _, v := range []any{l, r} {
			if u, ok := v.(uint64); ok && !lf && !rf {
				fit(bigOf(u))
			}
		}
	}
	if l == nil || r == nil {
		return nil
	}
	switch n.Operator {
	case "==", "!=", "<", "<=", ">", ">=":
		c := compareAny(l, r)
		if c == unordered {
			return n.Operator == "!="
		}
		return map[string]bool{"==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[n.Operator]
	case "/":
		return floatOf(l) / floatOf(r)
	case "**":
		return math.Pow(floatOf(l), floatOf(r))
	case "contains":
		return strings.Contains(l.(string), r.(string))
	case "startsWith":
		return strings.HasPrefix(l.(string), r.(string))
	case "endsWith":
		return strings.HasSuffix(l.(string), r.(string))
	case "matches":
		return regexp.MustCompile(r.(string)).MatchString(l.(string))
	}
	switch l := l.(type) {
	case string:
		return l + r.(string)
	case instant:
		d := r.(time.Duration)
		if n.Operator == "-" {
			d = -d
		}
		return instant{l.Add(d), l.unit}
	}
	_, lf := l.(float64)
	_, rf := r.(float64)
	if lf || rf {
		a, b := floatOf(l), floatOf(r)
		switch n.Operator {
		case "+":
			return a + b
		case "-":
			return a - b
		default:
			return a * b
		}
	}
	a, b := bigOf(l), bigOf(r)
	switch n.Operator {
	case "+":
		return fit(a.Add(a, b))
	case "-":
		return fit(a.Sub(a, b))
	case "*":
		return fit(a.Mul(a, b))
	default:
		if b.Sign() == 0 {
			panic(rowFails{})
		}
		return fit(a.Rem(a, b))
	}
}

const unordered = 2

func compareAny(l, r any) int {
	switch l := l.(type) {
	case string:
		return strings.Compare(l, r.(string))
	case bool:
		if l == r.(bool) {
			return 0
		}
		return 1
	case instant:
		return l.Compare(r.(instant).Time)
	}
	_, lf := l.(float64)
	_, rf := r.(float64)
	if !lf && !rf {
		return bigOf(l).Cmp(bigOf(r))
	}
	switch a, b := floatOf(l), floatOf(r); {
	case a < b:
		return -1
	case a == b:
		return 0
	case a > b:
		return 1
	}
	return unordered
}

func (row naive) call(name string, nodes []ast.Node) any {
	if name == "coalesce" {
		for _, n := range nodes {
			if v := row.eval(n); v != nil {
				return v
			}
		}
		return nil
	}
	args := make([]any, len(nodes))
	for i, n := range nodes {
		args[i] = row.eval(n)
	}
	if name == "isNull" {
		return args[0] == nil
	}
	for _, a := range args {
		if a == nil {
			return nil
		}
	}
	x := args[0]
	switch name {
	case "abs":
		if f, ok := x.(float64); ok {
			return math.Abs(f)
		}
		return fit(new(big.Int).Abs(bigOf(x)))
	case "floor":
		return math.Floor(floatOf(x))
	case "ceil":
		return math.Ceil(floatOf(x))
	case "round":
		return math.Round(floatOf(x))
	case "sqrt":
		return math.Sqrt(floatOf(x))
	case "min", "max":
		out := x
		for _, a := range args[1:] {
			if f, ok := out.(float64); ok {
				out = map[string]func(x, y float64) float64{"min": math.Min, "max": math.Max}[name](f, a.(float64))
				if math.IsNaN(f) || math.IsNaN(a.(float64)) { // math.Max takes an infinity over NaN
					out = math.NaN()
				}
				continue
			}
			if c := compareAny(a, out); c < 0 == (name == "min") && c != 0 {
				out = a
			}
		}
		return out
	case "len":
		return int64(len([]rune(x.(string))))
	case "lower":
		return strings.ToLower(x.(string))
	case "upper":
		return strings.ToUpper(x.(string))
	case "trim":
		return strings.TrimSpace(x.(string))
	case "replace":
		return strings.ReplaceAll(x.(string), args[1].(string), args[2].(string))
	case "substr":
		r := []rune(x.(string))
		from := args[1].(int64)
		if from < 0 {
			from = max(0, int64(len(r))+from)
		}
		r = r[min(from, int64(len(r))):]
		return string(r[:min(max(args[2].(int64), 0), int64(len(r)))])
	case "splitPart":
		p := strings.Split(x.(string), args[1].(string))
		if n := args[2].(int64); n >= 0 && n < int64(len(p)) {
			return p[n]
		}
		return nil
	case "string":
		switch v := x.(type) {
		case string:
			return v
		case bool:
			return strconv.FormatBool(v)
		case float64:
			if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
				return strconv.FormatFloat(v, 'e', -1, 64)
			}
			return strconv.FormatFloat(v, 'f', -1, 64)
		case instant:
			return v.UTC().Format([]string{"2006-01-02T15:04:05Z", "2006-01-02T15:04:05.000Z", "2006-01-02T15:04:05.000000Z", "2006-01-02T15:04:05.000000000Z"}[v.unit])
		}
		return bigOf(x).String()
	case "int":
		switch v := x.(type) {
		case bool:
			if v {
				return int64(1)
			}
			return int64(0)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				panic(rowFails{})
			}
			b, _ := big.NewFloat(v).Int(nil)
			return fit(b)
		case string:
			i, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				panic(rowFails{})
			}
			return i
		}
		return fit(bigOf(x))
	case "float":
		return floatOf(x)
	case "duration":
		d, _ := time.ParseDuration(x.(string))
		return d
	case "trunc":
		t := x.(instant)
		d := args[1].(time.Duration)
		ns := new(big.Int).Add(new(big.Int).Mul(big.NewInt(t.Unix()), big.NewInt(1e9)), big.NewInt(int64(t.Nanosecond())))
		ns.Sub(ns, new(big.Int).Mod(ns, big.NewInt(int64(d))))
		sec, frac := new(big.Int).DivMod(ns, big.NewInt(1e9), new(big.Int))
		return instant{time.Unix(sec.Int64(), frac.Int64()), t.unit}
	}
	t := x.(instant).UTC()
	switch name {
	case "hour":
		return int64(t.Hour())
	case "minute":
		return int64(t.Minute())
	case "second":
		return int64(t.Second())
	case "day":
		return int64(t.Day())
	case "month":
		return int64(t.Month())
	case "year":
		return int64(t.Year())
	case "dayOfWeek":
		return int64(t.Weekday()+6)%7 + 1
	case "toUnix":
		return t.Unix()
	case "toUnixMilli":
		return t.UnixMilli()
	}
	panic("naive: function " + name)
}

// naiveResult is the value of an expression on row i of a batch, as cell renders it, or "fails".
func naiveResult(tree ast.Node, b *batch.Batch, i int, t batch.Type) (out string) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(rowFails); !ok {
				panic(r)
			}
			out = "fails"
		}
	}()
	row := naive{}
	for c, f := range b.Schema.Fields {
		row[f.Name] = goValue(f.Type, &b.Cols[c], i)
	}
	switch v := row.eval(tree).(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case string:
		return strconv.Quote(v)
	case instant:
		return strings.Trim(strconv.Quote(naive{"x": v}.call("string", []ast.Node{&ast.IdentifierNode{Value: "x"}}).(string)), `"`)
	default:
		if t.Float() { // 1 and 1.0 are one value where branches of both kinds meet
			return naive{"x": floatOf(v)}.call("string", []ast.Node{&ast.IdentifierNode{Value: "x"}}).(string)
		}
		return bigOf(v).String()
	}
}

func goValue(t batch.Type, c *batch.Column, i int) any {
	if !c.Valid(i) {
		return nil
	}
	switch t.Kind {
	case batch.Bool:
		return c.Bit(i)
	case batch.Int8:
		return int64(batch.As[int8](c.Values)[i])
	case batch.Int32:
		return int64(batch.As[int32](c.Values)[i])
	case batch.Int64:
		return batch.As[int64](c.Values)[i]
	case batch.Uint16:
		return int64(batch.As[uint16](c.Values)[i])
	case batch.Uint64:
		return batch.As[uint64](c.Values)[i]
	case batch.Float32:
		return float64(batch.As[float32](c.Values)[i])
	case batch.Float64:
		return batch.As[float64](c.Values)[i]
	case batch.String:
		return string(c.Bytes(i))
	case batch.Timestamp:
		v, per := batch.As[int64](c.Values)[i], t.Unit.PerSecond()
		return instant{time.Unix(v/per, v%per*(1e9/per)), t.Unit}
	}
	panic("goValue " + t.String())
}

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

// check compares the columnar evaluation of an expression with the naive one, row by row, and with itself on the batch
// cut into single rows. An expression the checker refuses is fine: fold finds some that always fail.
func compareWithNaive(t *testing.T, src string, b *batch.Batch) (compiled bool) {
	t.Helper()
	p, err := Compile(src, b.Schema)
	if err != nil {
		if !strings.Contains(err.Error(), "this fails on every row") && !strings.Contains(err.Error(), "nil has no type") {
			t.Fatalf("%s: %v", src, err)
		}
		return false
	}
	tree, err := parser.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	e := p.NewEvaluator()
	a := batch.NewArena(batch.Bytes(make([]uint64, 4096)))
	col, err := e.Eval(b, &a)
	if err != nil {
		t.Fatal(err)
	}
	failed := map[int32]bool{}
	last := int32(-1)
	for _, f := range e.Failures() {
		if f.Row <= last {
			t.Fatalf("%s: failures out of order", src)
		}
		last = f.Row
		failed[f.Row] = true
	}
	if n := b.Rows - batch.CountBits(orOnes(col.Validity, b.Rows), b.Rows); n != col.Nulls {
		t.Fatalf("%s: Nulls is %d, the bitmap has %d", src, col.Nulls, n)
	}
	single := p.NewEvaluator()
	for i := range b.Rows {
		got := "fails"
		if !failed[int32(i)] {
			got = cell(p.Type(), &col, i)
		}
		if want := naiveResult(tree.Node, b, i, p.Type()); got != want {
			t.Fatalf("%s\nrow %d of %d: %s\n got %s\nwant %s", src, i, b.Rows, b.RowJSON(i), got, want)
		}
		if got == "null" && !p.Nullable() {
			t.Fatalf("%s: row %d is null, the program says none is", src, i)
		}
		if i%97 != 0 {
			continue
		}
		one := oneRowOf(b, i)
		oc, err := single.Eval(one, &batch.Arena{})
		if err != nil {
			t.Fatal(err)
		}
		alone := "fails"
		if len(single.Failures()) == 0 {
			alone = cell(p.Type(), &oc, 0)
		}
		if alone != got {
			t.Fatalf("%s\nrow %d: %s alone, %s in the batch", src, i, alone, got)
		}
	}
	if p.Type() == boolType {
		var want []int32
		for i := range b.Rows {
			if !failed[int32(i)] && col.Valid(i) && col.Bit(i) {
				want = append(want, int32(i))
			}
		}
		if got := e.Filter(b, nil); !slices.Equal(got, want) {
			t.Fatalf("%s: Filter gives %v, Eval %v", src, got, want)
		}
	}
	return true
}

func orOnes(validity []byte, n int) []byte {
	if validity != nil {
		return validity
	}
	bm := make([]byte, batch.BitmapLen(n))
	batch.FillBits(bm, n)
	return bm
}

func oneRowOf(b *batch.Batch, i int) *batch.Batch {
	one := &batch.Batch{Schema: b.Schema, Rows: b.Rows, Cols: slices.Clone(b.Cols)}
	one.Gather([]int32{int32(i)}, &batch.Arena{})
	return one
}

func TestAgainstNaive(t *testing.T) {
	n := 1500
	if testing.Short() {
		n = 200
	}
	r := rand.New(rand.NewPCG(1, 2))
	compiled := 0
	for range n {
		if randomCase(t, r) {
			compiled++
		}
	}
	if compiled < n/2 {
		t.Errorf("only %d of %d expressions compiled", compiled, n)
	}
}

// FuzzAgainstNaive goes on with other seeds.
func FuzzAgainstNaive(f *testing.F) {
	f.Add(uint64(7))
	f.Fuzz(func(t *testing.T, seed uint64) { randomCase(t, rand.New(rand.NewPCG(seed, 1))) })
}

func randomCase(t *testing.T, r *rand.Rand) (compiled bool) {
	t.Helper()
	b := randomBatch(r)
	src := generator{r}.of("bifst"[r.IntN(5)], 1+r.IntN(5))
	return len(src) <= 2000 && compareWithNaive(t, src, b)
}

// FuzzExpr takes any text: it must give an error with a position inside the text, or a program that runs on any batch.
func FuzzExpr(f *testing.F) {
	for _, s := range []string{
		`s == "ok" && f > -40`, `f * 9 / 5 + 32`, `i in [1, 2, 3]`, `q ? i % j : nil`, `t matches "^a" ?? false`, `trunc(ms, duration("1h"))`,
		`$env["i"]`, `if p {1} else {2.5}`, `s | upper()`, `1 < i < 3`, `b"\x00"`, "((((", `substr(s, -1)`, `u == -1`, `a?.b`, `i in [`, `# 1`, "é\n= 1",
	} {
		f.Add(s, uint64(1))
	}
	f.Fuzz(func(t *testing.T, src string, seed uint64) {
		b := randomBatch(rand.New(rand.NewPCG(seed, 0)))
		p, err := Compile(src, b.Schema)
		if err != nil {
			e, ok := err.(*Error)
			if !ok || e.Offset < 0 || e.Offset > len(src) || e.Msg == "" || len(e.Error()) > 1000 {
				t.Fatalf("%q: bad error %#v", src, err)
			}
			if utf8.ValidString(src) && e.Offset < len(src) && !utf8.RuneStart(src[e.Offset]) {
				t.Fatalf("%q: offset %d is inside a character", src, e.Offset)
			}
			return
		}
		e := p.NewEvaluator()
		var a batch.Arena
		col, err := e.Eval(b, &a)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Rows {
			_ = cell(p.Type(), &col, i)
		}
		for i := range min(b.Rows, 3) {
			one := oneRowOf(b, i)
			oc, err := p.NewEvaluator().Eval(one, &a)
			if err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(e.Failures(), func(f Failure) bool { return f.Row == int32(i) }) {
				continue
			}
			if x, y := cell(p.Type(), &col, i), cell(p.Type(), &oc, 0); x != y {
				t.Fatalf("%q: row %d is %s in the batch, %s alone", src, i, x, y)
			}
		}
	})
}
