package clickhouse

import (
	"fmt"
	"strconv"
	"strings"
)

// shape is what has to be known of a column's type to find where its bytes end. It decodes nothing.
type shape struct {
	kind  shapeKind
	width int      // shapeFixed: bytes a value
	args  []*shape // nested types
	state *stateShape

	decimal bool // sums of it are kept wider than those of integers
}

type shapeKind uint8

const (
	shapeFixed shapeKind = iota
	shapeString
	shapeNullable
	shapeArray // also Map and Nested, whose bytes are those of an array of tuples
	shapeTuple
	shapeLowCardinality
	shapeVariant
	shapeDynamic
	shapeJSON
	shapeState // AggregateFunction
)

const (
	maxTypeDepth = 32
	maxTypeText  = 64 << 10
)

// parseShape reads a ClickHouse type name.
func parseShape(name string) (*shape, error) {
	if len(name) > maxTypeText {
		return nil, exceptionf(codeUnknownType, "a type name of %d bytes is too long", len(name))
	}
	s, err := parseType(strings.TrimSpace(name), 0)
	if err != nil {
		return nil, exceptionf(codeUnknownType, "%v (in type %q)", err, clip(name, 200))
	}
	return s, nil
}

// fixedWidths lists the types whose values have one width, whatever their arguments. The geometry names are not types of
// their own on the wire, see aliases.
var fixedWidths = map[string]int{
	"UInt8": 1, "Int8": 1, "Bool": 1, "Enum8": 1, "Nothing": 1,
	"UInt16": 2, "Int16": 2, "Date": 2, "Enum16": 2, "BFloat16": 2,
	"UInt32": 4, "Int32": 4, "Float32": 4, "Date32": 4, "DateTime": 4, "IPv4": 4, "Decimal32": 4, "Time": 4,
	"UInt64": 8, "Int64": 8, "Float64": 8, "DateTime64": 8, "Decimal64": 8, "Time64": 8,
	"IntervalNanosecond": 8, "IntervalMicrosecond": 8, "IntervalMillisecond": 8, "IntervalSecond": 8, "IntervalMinute": 8,
	"IntervalHour": 8, "IntervalDay": 8, "IntervalWeek": 8, "IntervalMonth": 8, "IntervalQuarter": 8, "IntervalYear": 8,
	"UInt128": 16, "Int128": 16, "UUID": 16, "IPv6": 16, "Decimal128": 16,
	"UInt256": 32, "Int256": 32, "Decimal256": 32,
}

var aliases = map[string]string{
	"Point":           "Tuple(Float64, Float64)",
	"Ring":            "Array(Point)",
	"LineString":      "Array(Point)",
	"Polygon":         "Array(Ring)",
	"MultiLineString": "Array(LineString)",
	"MultiPolygon":    "Array(Polygon)",
	"Geometry":        "Variant(LineString, MultiLineString, MultiPolygon, Point, Polygon, Ring)",
}

func parseType(text string, depth int) (*shape, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("types are nested deeper than %d", maxTypeDepth)
	}
	name, list, err := splitType(text)
	if err != nil {
		return nil, err
	}
	if w, ok := fixedWidths[name]; ok {
		return &shape{kind: shapeFixed, width: w, decimal: strings.HasPrefix(name, "Decimal")}, nil
	}
	if a, ok := aliases[name]; ok {
		return parseType(a, depth+1)
	}
	nested := func(kind shapeKind, want int, args []string) (*shape, error) {
		if want >= 0 && len(args) != want {
			return nil, fmt.Errorf("%s takes %d arguments and has %d", name, want, len(args))
		}
		s := &shape{kind: kind}
		for _, a := range args {
			sub, err := parseType(a, depth+1)
			if err != nil {
				return nil, err
			}
			s.args = append(s.args, sub)
		}
		return s, nil
	}
	switch name {
	case "String":
		return &shape{kind: shapeString}, nil
	case "FixedString":
		return fixedString(list)
	case "Decimal":
		return decimalShape(list)
	case "Nullable":
		return nested(shapeNullable, 1, list)
	case "Array":
		return nested(shapeArray, 1, list)
	case "LowCardinality":
		return nested(shapeLowCardinality, 1, list)
	case "Tuple":
		return nested(shapeTuple, -1, stripNames(list))
	case "Map":
		t, err := nested(shapeTuple, 2, list)
		return &shape{kind: shapeArray, args: []*shape{t}}, err
	case "Nested":
		t, err := nested(shapeTuple, -1, stripNames(list))
		return &shape{kind: shapeArray, args: []*shape{t}}, err
	case "Variant":
		if len(list) > 254 {
			return nil, fmt.Errorf("a Variant of %d types", len(list))
		}
		return nested(shapeVariant, -1, list)
	case "Dynamic":
		return &shape{kind: shapeDynamic}, nil
	case "JSON":
		return &shape{kind: shapeJSON}, nil
	case "SimpleAggregateFunction":
		if len(list) < 2 {
			return nil, fmt.Errorf("SimpleAggregateFunction takes a function and a type")
		}
		return parseType(list[len(list)-1], depth+1)
	case "AggregateFunction":
		st, err := parseState(list, depth+1)
		return &shape{kind: shapeState, state: st}, err
	}
	return nil, fmt.Errorf("the embedded server does not know the type %q", clip(name, 60))
}

func fixedString(list []string) (*shape, error) {
	if len(list) == 1 {
		if n, err := strconv.Atoi(list[0]); err == nil && n > 0 && n <= 0xFFFFFF {
			return &shape{kind: shapeFixed, width: n}, nil
		}
	}
	return nil, fmt.Errorf("FixedString takes one length")
}

func decimalShape(list []string) (*shape, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("the Decimal has no precision")
	}
	p, err := strconv.Atoi(list[0])
	if err != nil || p < 1 || p > 76 {
		return nil, fmt.Errorf("a Decimal of precision %q", clip(list[0], 20))
	}
	width := 32
	switch {
	case p <= 9:
		width = 4
	case p <= 18:
		width = 8
	case p <= 38:
		width = 16
	}
	return &shape{kind: shapeFixed, width: width, decimal: true}, nil
}

// splitType cuts Name(a, b(c), 'd') into its name and top-level arguments.
func splitType(text string) (name string, args []string, err error) {
	open := strings.IndexByte(text, '(')
	if open < 0 {
		return text, nil, nil
	}
	if !strings.HasSuffix(text, ")") {
		return "", nil, fmt.Errorf("the type %q has no closing parenthesis", clip(text, 60))
	}
	name, text = strings.TrimSpace(text[:open]), text[open+1:len(text)-1]
	if strings.TrimSpace(text) == "" {
		return name, nil, nil
	}
	level, from := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '(':
			level++
		case ')':
			level--
		case '\'', '`', '"':
			if i = quotedEnd(text, i); i < 0 {
				return "", nil, fmt.Errorf("a quote is not closed")
			}
		case ',':
			if level == 0 {
				args = append(args, strings.TrimSpace(text[from:i]))
				from = i + 1
			}
		}
		if level < 0 {
			break
		}
	}
	if level != 0 {
		return "", nil, fmt.Errorf("parentheses do not match")
	}
	return name, append(args, strings.TrimSpace(text[from:])), nil
}

// quotedEnd returns the index of the quote that closes the one at from, or -1.
func quotedEnd(s string, from int) int {
	q := s[from]
	for i := from + 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case q:
			if i+1 < len(s) && s[i+1] == q {
				i++
				continue
			}
			return i
		}
	}
	return -1
}

// stripNames turns the elements of Tuple(a UInt8, `b c` String) into their types alone.
func stripNames(elements []string) []string {
	out := make([]string, len(elements))
	for i, e := range elements {
		out[i] = e
		if e == "" {
			continue
		}
		if e[0] == '`' || e[0] == '"' {
			if end := quotedEnd(e, 0); end > 0 {
				out[i] = strings.TrimSpace(e[end+1:])
			}
			continue
		}
		if sp := strings.IndexByte(e, ' '); sp > 0 && !strings.ContainsAny(e[:sp], "(,") {
			out[i] = strings.TrimSpace(e[sp+1:])
		}
	}
	return out
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}
