package expr

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/weir-stream/weir/ingest/batch"
)

// SQL is an expression as ClickHouse computes it, over columns that are named like those of the schema.
type SQL struct {
	Text     string
	Type     batch.Type
	Nullable bool
}

// maxSQL bounds the text: a view is read again with every query.
const maxSQL = 64 << 10

// CompileSQL checks an expression as Compile does, and writes it in ClickHouse's dialect. The values are those an Evaluator gives, but
// for the last digits of ** exp log and log10; where it fails a row (integers that overflow, % by zero, int of what does not fit), the
// value is null. It takes numbers, comparisons, logic, conditions, nulls and lists: not what is about texts. An error is always an
// [*Error].
func CompileSQL(src string, in *batch.Schema) (SQL, error) {
	p, err := Compile(src, in)
	if err != nil {
		return SQL{}, err
	}
	if tree, err := parse(src); err == nil {
		v := sqlVisitor{src: src}
		ast.Walk(&tree, &v)
		if v.err != nil {
			return SQL{}, v.err
		}
	}
	w := sqlWriter{in: in}
	text, null := w.write(p.root)
	switch {
	case p.Type().Kind == batch.List:
		return SQL{}, &Error{Msg: "a list is no single value", Hint: "take one item: " + clip(src, 64) + "[0]"}
	case w.refused != "":
		return SQL{}, &Error{Msg: w.refused + " cannot be computed from answers", Hint: sqlHint}
	case len(text) > maxSQL:
		return SQL{}, &Error{Msg: fmt.Sprintf("the expression becomes %d bytes of SQL, the limit is %d", len(text), maxSQL)}
	}
	return SQL{Text: text, Type: p.Type(), Nullable: null}, nil
}

const sqlHint = "use numbers, comparisons, ?: ?? && || and min max abs round ceil floor sqrt; all else in a query of the view"

// sqlFunctions are those that have SQL.
var sqlFunctions = []string{
	"abs", "ceil", "floor", "round", "sqrt", "exp", "log", "log10", "pow", "min", "max", "sum", "isFinite", "isNaN", "len", "int", "float",
	"decimal", "coalesce", "isNull", "timestamp", "toUnix", "toUnixMilli", "toUnixMicro", "toUnixNano",
}

// sqlVisitor finds the first part of an expression that has no SQL.
type sqlVisitor struct {
	src string
	err *Error
}

// Visit implements ast.Visitor.
func (v *sqlVisitor) Visit(n *ast.Node) {
	what := ""
	switch n := (*n).(type) {
	case *ast.BuiltinNode:
		what = n.Name
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			what = id.Value
		}
	case *ast.BinaryNode:
		if slices.Contains([]string{"in", "contains", "startsWith", "endsWith", "matches"}, n.Operator) {
			what = n.Operator
		}
	}
	if what == "" || slices.Contains(sqlFunctions, what) {
		return
	}
	if at := byteOffset(v.src, position(*n)); v.err == nil || at < v.err.Offset {
		v.err = &Error{Offset: at, Msg: what + " cannot be computed from answers", Hint: sqlHint}
	}
}

// sqlWriter writes nodes. Operands of arithmetic are wider than its result, so that what overflows is seen.
type sqlWriter struct {
	in      *batch.Schema
	refused string
}

func (w *sqlWriter) refuse(what string) (string, bool) {
	if w.refused == "" {
		w.refused = what
	}
	return "NULL", true
}

// write gives the text of a node, and whether it may be null.
func (w *sqlWriter) write(n node) (text string, null bool) {
	switch x := n.(type) {
	case *colNode:
		text = sqlIdent(w.in.Fields[x.index].Name)
		if x.t.Kind == batch.Float32 {
			text = "toFloat64(" + text + ")"
		}
		return text, x.null
	case *constNode:
		return w.constant(x)
	case *labelNode:
		return w.write(x.x)
	case *toFloat:
		text, null = w.write(x.x)
		return "toFloat64(" + text + ")", null
	case *toInt:
		text, _ = w.write(x.x)
		return fits(text), true
	case *intArith:
		return w.intArith(x)
	case *negInt:
		text, _ = w.write(x.x)
		return fits(map[bool]string{false: "negate", true: "abs"}[x.abs] + "(toInt128(" + text + "))"), true
	case *floatArith:
		l, nl := w.write(x.l)
		r, nr := w.write(x.r)
		if x.op == '^' {
			return "pow(" + l + ", " + r + ")", nl || nr
		}
		return "(" + l + " " + string(x.op) + " " + r + ")", nl || nr
	case *mapFloat:
		return w.mapFloat(x)
	case *testFloat:
		text, null = w.write(x.x)
		return x.name + "(" + text + ")", null
	case *extreme:
		return w.extreme(x)
	case *notNode:
		text, null = w.write(x.x)
		return "(NOT " + text + ")", null
	case *andNode:
		return w.infix(x.l, "AND", x.r)
	case *orNode:
		return w.infix(x.l, "OR", x.r)
	case *cmpNum:
		return w.infix(x.l, sqlOps[x.op], x.r)
	case *cmpMixed:
		return w.infix(x.l, sqlOps[x.op], x.r)
	case *cmpBool:
		return w.infix(x.l, sqlOps[x.op], x.r)
	case *cmpDecimal: // in 256 bits, as digits are added to one of the two
		l, nl := w.write(x.l)
		r, nr := w.write(x.r)
		scale := int(x.l.info().t.Scale) + x.lUp
		return fmt.Sprintf("(toDecimal256(%s, %[3]d) %[4]s toDecimal256(%[2]s, %[3]d))", l, r, scale, sqlOps[x.op]), nl || nr
	case *decimalScale:
		text, null = w.write(x.x)
		return fmt.Sprintf("toDecimal128(%s, %d)", text, x.t.Scale), null
	case *decimalArith:
		return w.decimalArith(x)
	case *decimalMul:
		return w.decimalMul(x)
	case *decimalDiv:
		return w.decimalDiv(x)
	case *decimalSign:
		text, null = w.write(x.x)
		return map[bool]string{false: "negate", true: "abs"}[x.abs] + "(" + text + ")", null
	case *decimalRound:
		text, null = w.write(x.x)
		return fmt.Sprintf("toDecimal128(%s(toDecimal256(%s, %d), %[4]d), %[4]d)", x.name, text, x.x.info().t.Scale, x.t.Scale), null
	case *cmpText:
		return w.infix(x.l, sqlOps[x.op], x.r)
	case *isNullNode:
		text, _ = w.write(x.x)
		return map[bool]string{false: "isNull(", true: "isNotNull("}[x.not] + text + ")", false
	case *condNode:
		cond, _ := w.write(x.cond)
		yes, ny := w.write(x.yes)
		no, nn := w.write(x.no)
		null = ny || nn
		return fmt.Sprintf("if(%s, %s, %s)", cond, w.as(yes, x.t, null), w.as(no, x.t, null)), null
	case *coalesceNode:
		l, nl := w.write(x.l)
		r, nr := w.write(x.r)
		if !nl {
			return l, false
		}
		return fmt.Sprintf("ifNull(%s, %s)", w.as(l, x.t, true), w.as(r, x.t, nr)), nr
	case *castNode:
		return w.cast(x)
	case *rescale:
		return w.rescale(x)
	case *listLen:
		return "toInt64(length(" + w.list(x.list) + "))", x.null
	case *listAt:
		return w.listAt(x)
	case *listFold:
		return w.listFold(x)
	case *listFoldDecimal:
		if x.fold != foldSum {
			return w.refuse("avg, min or max of a list")
		}
		return within(fmt.Sprintf("arraySum(arrayMap(v -> toDecimal256(v, %d), %s))", x.t.Scale, w.list(x.list)), x.t), true
	}
	return w.refuse("a value of this kind")
}

var sqlOps = [...]string{opEQ: "=", opNE: "!=", opLT: "<", opLE: "<=", opGT: ">", opGE: ">="}

// fits is an integer of many bits as int64, or null.
func fits(text string) string { return "accurateCastOrNull(" + text + ", 'Int64')" }

func (w *sqlWriter) infix(l node, op string, r node) (string, bool) {
	a, nl := w.write(l)
	b, nr := w.write(r)
	return "(" + a + " " + op + " " + b + ")", nl || nr
}

func (w *sqlWriter) intArith(x *intArith) (string, bool) {
	if x.t.Kind == batch.Timestamp {
		return w.refuse("a time and a duration")
	}
	l, _ := w.write(x.l)
	r, _ := w.write(x.r)
	if x.op == '%' {
		// Names of arguments stand for an operand that is needed more than once.
		return fits("arrayMap((l, r) -> if(r = 0, NULL, l % if(r = 0, 1, r)), [toInt128(" + l + ")], [toInt128(" + r + ")])[1]"), true
	}
	return fits("toInt128(" + l + ") " + string(x.op) + " toInt128(" + r + ")"), true
}

// decimalArith computes in 256 bits, so that what has more than 38 digits is seen: a cast to fewer does not look at digits.
func (w *sqlWriter) decimalArith(x *decimalArith) (string, bool) {
	l, nl := w.write(x.l)
	r, nr := w.write(x.r)
	sum := fmt.Sprintf("toDecimal256(%s, %[3]d) %[4]s toDecimal256(%[2]s, %[3]d)", l, r, x.t.Scale, map[bool]string{false: "+", true: "-"}[x.minus])
	if x.t.Precision < batch.MaxPrecision {
		return fmt.Sprintf("toDecimal128(%s, %d)", sum, x.t.Scale), nl || nr
	}
	return within(sum, x.t), true
}

// within is a decimal of 256 bits as one of a type, or null where it has more digits; it has not more behind the point.
func within(text string, t batch.Type) string {
	limit := fmt.Sprintf("toDecimal256('1%s', %d)", strings.Repeat("0", int(t.Precision-t.Scale)), t.Scale)
	return fmt.Sprintf("accurateCastOrNull(arrayMap(v -> if(abs(v) < %s, v, NULL), [%s])[1], '%s')", limit, text, sqlType(t))
}

// decimalMul has room for 76 digits, which are what two decimals have.
func (w *sqlWriter) decimalMul(x *decimalMul) (string, bool) {
	l, nl := w.write(x.l)
	r, nr := w.write(x.r)
	a, b := x.l.info().t, x.r.info().t
	product := fmt.Sprintf("toDecimal256(%s, %d) * toDecimal256(%s, %d)", l, a.Scale, r, b.Scale)
	if a.Precision+b.Precision <= batch.MaxPrecision {
		return fmt.Sprintf("toDecimal128(%s, %d)", product, x.t.Scale), nl || nr
	}
	return within(product, x.t), true
}

// decimalDiv has a dividend of 76 digits at most. By zero it is null.
func (w *sqlWriter) decimalDiv(x *decimalDiv) (string, bool) {
	l, _ := w.write(x.l)
	r, _ := w.write(x.r)
	quotient := fmt.Sprintf("arrayMap((l, r) -> if(r = 0, NULL, l / if(r = 0, toDecimal256(1, %[2]d), r)), [toDecimal256(%[1]s, %[3]d)], [toDecimal256(%[4]s, %[2]d)])[1]",
		l, x.r.info().t.Scale, x.t.Scale, r)
	return within(quotient, x.t), true
}

func (w *sqlWriter) mapFloat(x *mapFloat) (string, bool) {
	text, null := w.write(x.x)
	switch x.name {
	case "-":
		return "negate(" + text + ")", null
	case "round": // half away from zero; ClickHouse's rounds half to even
		const whole = "trunc(s) + if(abs(s - trunc(s)) >= 0.5, sign(s), 0)"
		if x.scale == 1 {
			return "arrayMap(s -> " + whole + ", [" + text + "])[1]", null
		}
		scale := sqlFloat(x.scale)
		return "arrayMap((v, s) -> if(isInfinite(s), v, (" + whole + ") / " + scale + "), [" + text + "], [" + text + " * " + scale + "])[1]", null
	}
	return x.name + "(" + text + ")", null
}

// extreme is null where one is, and NaN where one is, unlike least and greatest.
func (w *sqlWriter) extreme(x *extreme) (string, bool) {
	l, nl := w.write(x.l)
	r, nr := w.write(x.r)
	null, op := nl || nr, "<="
	if x.max {
		op = ">="
	}
	choice := "if(l " + op + " r, l, r)"
	if x.t.Float() {
		choice = "multiIf(isNaN(l), l, isNaN(r), r, l " + op + " r, l, r)"
	}
	if null {
		choice = "if(isNull(l) OR isNull(r), NULL, " + choice + ")"
	}
	return fmt.Sprintf("arrayMap((l, r) -> %s, [%s], [%s])[1]", choice, w.as(l, x.t, null), w.as(r, x.t, null)), null
}

func (w *sqlWriter) cast(x *castNode) (string, bool) {
	text, null := w.write(x.x)
	from := x.x.info().t
	switch {
	case x.t.Kind == batch.Decimal && (from.Integer() || from.Kind == batch.Decimal && from.Scale <= x.t.Scale):
		return within(fmt.Sprintf("toDecimal256(%s, %d)", text, x.t.Scale), x.t), true
	case x.t.Kind == batch.Float64 && (from.Numeric() || from.Kind == batch.Bool || from.Kind == batch.Decimal):
		return "toFloat64(" + text + ")", null
	case x.t.Kind == batch.Int64 && from.Kind == batch.Bool:
		return "toInt64(" + text + ")", null
	case x.t.Kind == batch.Int64 && from.Float():
		return fits("trunc(" + text + ")"), true
	case x.t.Kind == batch.Int64 && from.Integer():
		return fits(text), true
	}
	return w.refuse("a cast from " + from.String() + " to " + x.t.String())
}

// rescale is a timestamp as a number: of one in another unit there is none.
func (w *sqlWriter) rescale(x *rescale) (string, bool) {
	from := x.x.info().t
	if x.t.Kind != batch.Int64 || from.Kind != batch.Timestamp {
		return w.refuse("times of different units")
	}
	text, null := w.write(x.x)
	switch from.Unit {
	case batch.Second:
		text = "intDiv(toUnixTimestamp64Milli(toDateTime64(" + text + ", 3, 'UTC')), 1000)"
	case batch.Millisecond:
		text = "toUnixTimestamp64Milli(" + text + ")"
	case batch.Microsecond:
		text = "toUnixTimestamp64Micro(" + text + ")"
	default:
		text = "toUnixTimestamp64Nano(" + text + ")"
	}
	switch {
	case x.mul > 1:
		return fits(fmt.Sprintf("toInt128(%s) * %d", text, x.mul)), true
	case x.div > 1:
		return fmt.Sprintf("arrayMap(t -> intDiv(t - positiveModulo(t, %[2]d), %[2]d), [%[1]s])[1]", text, x.div), null
	}
	return text, null
}

func (w *sqlWriter) list(l list) string { return sqlIdent(w.in.Fields[l.index].Name) }

func (w *sqlWriter) listAt(x *listAt) (string, bool) {
	k, ok := x.at.(*constNode)
	if !ok || k.isNull {
		return w.refuse("an item whose number is computed")
	}
	list, at := w.list(x.list), k.int()
	if at > math.MaxInt32 || at < math.MinInt32 {
		return w.refuse(fmt.Sprintf("item %d", at))
	}
	least := -at
	if at >= 0 {
		at, least = at+1, at+1
	}
	item := fmt.Sprintf("%s[%d]", list, at)
	if x.list.t.Kind == batch.Float32 {
		item = "toFloat64(" + item + ")"
	}
	return fmt.Sprintf("if(length(%s) >= %d, %s, NULL)", list, least, item), true
}

func (w *sqlWriter) listFold(x *listFold) (string, bool) {
	list := w.list(x.list)
	switch {
	case x.fold != foldSum:
		return w.refuse("avg, min or max of a list")
	case x.t.Float():
		return "arraySum(" + list + ")", x.null
	}
	return fmt.Sprintf("accurateCastOrNull(arraySum(arrayMap(v -> toInt256(v), %s)), '%s')", list, sqlType(x.t)), true
}

// as gives a value a type.
func (w *sqlWriter) as(text string, t batch.Type, null bool) string {
	typ := sqlType(t)
	if typ == "" {
		text, _ = w.refuse(t.String())
		return text
	}
	if null {
		typ = "Nullable(" + typ + ")"
	}
	return "CAST(" + text + ", " + sqlText([]byte(typ)) + ")"
}

// sqlType is the type of computed values; empty where there is none.
func sqlType(t batch.Type) string {
	switch t.Kind {
	case batch.Bool:
		return "Bool"
	case batch.Int64:
		return "Int64"
	case batch.Uint64:
		return "UInt64"
	case batch.Float64:
		return "Float64"
	case batch.String, batch.Binary:
		return "String"
	case batch.Date32:
		return "Date32"
	case batch.Decimal:
		return fmt.Sprintf("Decimal(%d, %d)", t.Precision, t.Scale)
	case batch.Timestamp:
		return fmt.Sprintf("DateTime64(%d, 'UTC')", [...]int{0, 3, 6, 9}[t.Unit])
	}
	return ""
}

func (w *sqlWriter) constant(x *constNode) (string, bool) {
	switch {
	case x.isNull && x.t.Kind == batch.Invalid:
		return "NULL", true
	case x.isNull:
		return w.as("NULL", x.t, true), true
	}
	switch x.t.Kind {
	case batch.Bool:
		return strconv.FormatBool(x.truth), false
	case batch.Int64:
		return fmt.Sprintf("toInt64(%d)", x.int()), false
	case batch.Uint64:
		return fmt.Sprintf("toUInt64(%d)", x.v.num[0]), false
	case batch.Float64:
		return sqlFloat(x.float()), false
	case batch.String, batch.Binary:
		return sqlText(x.text()), false
	case batch.Decimal:
		return fmt.Sprintf("toDecimal128('%s', %d)", batch.AppendDecimal(nil, x.v.dec[0], int(x.t.Scale)), x.t.Scale), false
	case batch.Timestamp:
		if x.t.Unit != batch.Second {
			return fmt.Sprintf("fromUnixTimestamp64%s(toInt64(%d), 'UTC')", [...]string{"", "Milli", "Micro", "Nano"}[x.t.Unit], x.int()), false
		}
	}
	return w.refuse("a constant of type " + x.t.String())
}

// sqlFloat has a text between, as a literal that is a whole number would be an integer.
func sqlFloat(v float64) string {
	return "toFloat64('" + strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+")) + "')"
}

// sqlText is a literal. Bytes that are no text people can see are written as digits.
func sqlText(s []byte) string {
	plain := utf8.Valid(s) && !slices.ContainsFunc(s, func(b byte) bool { return b < ' ' || b == 0x7f })
	if !plain {
		return "unhex('" + hex.EncodeToString(s) + "')"
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(string(s)) + "'"
}

func sqlIdent(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
