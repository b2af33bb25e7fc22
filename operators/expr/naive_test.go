package expr

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// naive is the language once more, written to be obviously right: one row at a time over the parse tree, Go values,
// big integers for overflow, the time package for times. It shares nothing with the columnar evaluation but the parser.
//
// Values are nil, bool, int64, uint64, float64, string, time.Time with a unit as instant, and time.Duration.
type naive map[string]any

type (
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
