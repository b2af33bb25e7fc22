package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// column is how a column of an answer is shown.
type column struct {
	name   string
	number bool   // right-aligned
	layout string // of times
}

var (
	numberType = regexp.MustCompile(`^(U?Int|Float|BFloat|Decimal)`)
	wrapped    = regexp.MustCompile(`^(Nullable|LowCardinality)\((.*)\)$`)
	fraction   = regexp.MustCompile(`^DateTime64\((\d)`)
)

// newColumn derives it from the name of a ClickHouse type.
func newColumn(name, typ string) column {
	for {
		m := wrapped.FindStringSubmatch(typ)
		if m == nil {
			break
		}
		typ = m[2]
	}
	c := column{name: name, number: numberType.MatchString(typ), layout: time.DateTime}
	switch m := fraction.FindStringSubmatch(typ); {
	case m != nil && m[1] != "0":
		digits, _ := strconv.Atoi(m[1])
		c.layout += "." + strings.Repeat("0", digits)
	case strings.HasPrefix(typ, "Date") && !strings.HasPrefix(typ, "DateTime"):
		c.layout = time.DateOnly
	}
	return c
}

// text is a value for people and CSV.
func (c column) text(v any) string {
	v = plainValue(v)
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return v
	case time.Time:
		return v.Format(c.layout)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case fmt.Stringer:
		return v.String()
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		var b bytes.Buffer
		if writeJSON(&b, v) == nil {
			return b.String()
		}
	}
	return fmt.Sprint(v)
}

// json writes a value as JSON, by what the column is: decimals come as a type that would print as text, and days as
// times.
func (c column) json(b *bytes.Buffer, v any) error {
	if s, ok := plainValue(v).(fmt.Stringer); ok && c.number {
		b.WriteString(s.String())
		return nil
	}
	if t, ok := plainValue(v).(time.Time); ok && c.layout == time.DateOnly {
		return writeJSONString(b, t.Format(c.layout))
	}
	return writeJSON(b, v)
}

func isNull(v any) bool { return plainValue(v) == nil }

// plainValue follows the pointers that nullable columns come as.
func plainValue(v any) any {
	for v != nil {
		if _, ok := v.(*big.Int); ok {
			return v
		}
		r := reflect.ValueOf(v)
		if r.Kind() != reflect.Pointer {
			return v
		}
		if r.IsNil() {
			return nil
		}
		v = r.Elem().Interface()
	}
	return nil
}

// writeJSON writes a value as JSON: what JSON cannot have (NaN, infinity) becomes null, times RFC 3339, maps have their
// keys sorted, and what is not UTF-8 is replaced.
func writeJSON(b *bytes.Buffer, v any) error {
	v = plainValue(v)
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
		return nil
	case string:
		return writeJSONString(b, v)
	case time.Time:
		return writeJSONString(b, v.Format(time.RFC3339Nano))
	case float64:
		return writeJSONFloat(b, v, 64)
	case float32:
		return writeJSONFloat(b, float64(v), 32)
	case *big.Int:
		b.WriteString(v.String())
		return nil
	case fmt.Stringer:
		return writeJSONString(b, v.String())
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Slice, reflect.Array:
		b.WriteByte('[')
		for i := range r.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, r.Index(i).Interface()); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.Map:
		return writeJSONMap(b, r)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %T as JSON: %w", v, err)
	}
	b.Write(out)
	return nil
}

func writeJSONMap(b *bytes.Buffer, r reflect.Value) error {
	keys := r.MapKeys()
	names := make(map[string]reflect.Value, len(keys))
	for _, k := range keys {
		names[column{layout: time.DateTime}.text(k.Interface())] = r.MapIndex(k)
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	b.WriteByte('{')
	for i, n := range sorted {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSONString(b, n); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := writeJSON(b, names[n].Interface()); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeJSONString(b *bytes.Buffer, s string) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	if err := e.Encode(s); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the encoder ends with a line break
	return nil
}

func writeJSONFloat(b *bytes.Buffer, f float64, bits int) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		b.WriteString("null")
		return nil
	}
	b.WriteString(strconv.FormatFloat(f, 'g', -1, bits))
	return nil
}
