package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The kinds of scalar values.

// textKind is any text.
func textKind(what string) kind[string] {
	return kind[string]{typed("string"), func(r *reader, v value, to *string) bool {
		t, ok := r.text(v, what)
		if ok && t.Value == "" {
			r.failf(v, "want %s, not nothing", what)
			return false
		}
		if ok {
			*to = t.Value
		}
		return ok
	}}
}

// matching is text with a rule of its own.
func matching(what, pattern string, check func(string) error) kind[string] {
	s := typed("string")
	if pattern != "" {
		s["pattern"] = pattern
	}
	return kind[string]{s, func(r *reader, v value, to *string) bool {
		t, ok := r.text(v, what)
		if !ok {
			return false
		}
		if err := check(t.Value); err != nil {
			r.failf(v, "%v", err)
			return false
		}
		*to = t.Value
		return true
	}}
}

// located is text that keeps its place.
func located(what string) kind[Text] {
	return kind[Text]{typed("string"), func(r *reader, v value, to *Text) bool {
		t, ok := r.text(v, what)
		if ok && strings.TrimSpace(t.Value) == "" {
			r.failf(v, "want %s, not nothing", what)
			return false
		}
		if ok {
			*to = t
		}
		return ok
	}}
}

// identKind is the name of a column.
func identKind() kind[Ident] {
	return kind[Ident]{typed("string"), func(r *reader, v value, to *Ident) bool {
		t, ok := r.text(v, "a column name")
		if ok && t.Value == "" {
			r.failf(v, "want a column name, not nothing")
			return false
		}
		if ok {
			*to = Ident{t.Value, t.Pos}
		}
		return ok
	}}
}

// secretKind is text that is never shown.
func secretKind(what string) kind[Secret] {
	return kind[Secret]{typed("string"), func(r *reader, v value, to *Secret) bool {
		t, ok := r.text(v, what)
		if ok {
			*to = NewSecret(t.Value)
		}
		return ok
	}}
}

// enum is one of a few words. Words that are planned are refused as such.
func enum[V ~string](what string, words []V, planned ...V) kind[V] {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	return kind[V]{jsonSchema{"enum": names}, func(r *reader, v value, to *V) bool {
		t, ok := r.text(v, what)
		switch {
		case !ok:
			return false
		case slices.Contains(words, V(t.Value)):
			*to = V(t.Value)
			return true
		case slices.Contains(planned, V(t.Value)):
			_ = r.failf(v, "%s is not supported yet", t.Value).WithHint("supported: %s", strings.Join(names, ", "))
			return false
		}
		err := r.failf(v, "%s is not %s", quote(t.Value), what)
		if near := Nearest(t.Value, names); near != "" {
			_ = err.WithHint("did you mean %q?", near)
		} else {
			_ = err.WithHint("use one of %s", strings.Join(names, ", "))
		}
		return false
	}}
}

// boolKind is true or false.
func boolKind() kind[bool] {
	return kind[bool]{typed("boolean"), func(r *reader, v value, to *bool) bool {
		s, ok := r.plain(v, "true or false")
		if !ok {
			return false
		}
		if s != "true" && s != "false" {
			r.failf(v, "want true or false, not %s", quote(s))
			return false
		}
		*to = s == "true"
		return true
	}}
}

// intKind is a whole number in a range.
func intKind(lowest, highest int64) kind[int64] {
	s := typed("integer")
	s["minimum"], s["maximum"] = lowest, highest
	what := fmt.Sprintf("a whole number from %d to %d", lowest, highest)
	return kind[int64]{orReference(s), func(r *reader, v value, to *int64) bool {
		text, ok := r.plain(v, what)
		if !ok {
			return false
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil || n < lowest || n > highest {
			r.failf(v, "want %s, not %s", what, quote(text))
			return false
		}
		*to = n
		return true
	}}
}

// fractionKind is a part of all things, kept as one in so many: 1/1000 is 1000, 1 all, and off or 0 none, which is 0.
func fractionKind() kind[int64] {
	const most = 1_000_000_000
	s := typed("string")
	s["pattern"] = `^(off|0|1|1/[1-9][0-9]{0,9})$|\$\{`
	return kind[int64]{jsonSchema{"anyOf": []any{s, jsonSchema{"enum": []any{0, 1}}, jsonSchema{"const": false}}}, func(r *reader, v value, to *int64) bool {
		t, ok := r.text(v, "a part such as 1/1000, 1 or off")
		if !ok {
			return false
		}
		switch t.Value {
		case "off", "false", "0":
			*to = 0
			return true
		case "1":
			*to = 1
			return true
		}
		of, one := strings.CutPrefix(t.Value, "1/")
		n, err := strconv.ParseInt(of, 10, 64)
		if !one || err != nil || n < 1 || n > most || of[0] < '1' || of[0] > '9' {
			r.failf(v, "want one in so many, such as 1/1000, or 1 for all, or off, not %s", quote(t.Value))
			return false
		}
		*to = n
		return true
	}}
}

// durationKind is a span of time in a range; highest 0 means no limit.
func durationKind(lowest, highest time.Duration) kind[time.Duration] {
	s := typed("string")
	s["pattern"] = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$|^0$|\$\{`
	return kind[time.Duration]{jsonSchema{"anyOf": []any{s, jsonSchema{"const": 0}}}, func(r *reader, v value, to *time.Duration) bool {
		t, ok := r.text(v, "a duration such as 10s, 5m or 7d")
		if !ok {
			return false
		}
		d, err := ParseDuration(t.Value)
		switch {
		case err != nil:
			r.failf(v, "%v", err)
			return false
		case d < lowest:
			r.failf(v, "%s is too short", t.Value).Hint = "at least " + FormatDuration(lowest)
			return false
		case highest > 0 && d > highest:
			r.failf(v, "%s is too long", t.Value).Hint = "at most " + FormatDuration(highest)
			return false
		}
		*to = d
		return true
	}}
}

// ParseDuration reads a span of time as Go writes it, with d for days of 24 hours: "10s", "1h30m", "7d". It may not be
// negative.
func ParseDuration(s string) (time.Duration, error) {
	fail := func() (time.Duration, error) {
		return 0, fmt.Errorf("%s is not a duration: write it like 500ms, 10s, 5m, 1h30m or 7d", quote(s))
	}
	total := time.Duration(0)
	rest := s
	if i := strings.IndexByte(s, 'd'); i >= 0 {
		days, err := strconv.ParseFloat(s[:i], 64)
		if err != nil || strings.ContainsAny(s[:i], "eExXpPnNiI_+-") {
			return fail()
		}
		if days > math.MaxInt64/float64(24*time.Hour)-1 {
			return 0, fmt.Errorf("%s is too long for a duration", quote(s))
		}
		total, rest = time.Duration(days*float64(24*time.Hour)), s[i+1:]
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") || total > 0 && rest == "0" {
		return fail()
	}
	if total > math.MaxInt64-d {
		return 0, fmt.Errorf("%s is too long for a duration", quote(s))
	}
	return total + d, nil
}

// FormatDuration writes a span of time the way a pipeline file would: "10s", "1h30m", "7d".
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// sizeKind is a number of bytes in a range.
func sizeKind(lowest, highest int64) kind[int64] {
	s := typed("string")
	s["pattern"] = `^[0-9]+(\.[0-9]+)? ?([kKMGT]i?)?B?$|\$\{`
	return kind[int64]{jsonSchema{"anyOf": []any{s, typed("integer")}}, func(r *reader, v value, to *int64) bool {
		t, ok := r.text(v, "a size such as 64MiB")
		if !ok {
			return false
		}
		n, err := ParseSize(t.Value)
		switch {
		case err != nil:
			r.failf(v, "%v", err)
			return false
		case n < lowest:
			r.failf(v, "%s is too small", t.Value).Hint = "at least " + FormatSize(lowest)
			return false
		case n > highest:
			r.failf(v, "%s is too large", t.Value).Hint = "at most " + FormatSize(highest)
			return false
		}
		*to = n
		return true
	}}
}

// sizeUnits are the units of a size; the longer names come before their own ends.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"ki", 1 << 10},
	{"mi", 1 << 20},
	{"gi", 1 << 30},
	{"ti", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"k", 1e3},
	{"m", 1e6},
	{"g", 1e9},
	{"t", 1e12},
	{"b", 1},
}

// ParseSize reads a number of bytes: "64MiB" and "64Mi" count in powers of 1024, "64MB" and "64M" in powers of 1000,
// "4096" and "4096B" are bytes.
func ParseSize(s string) (int64, error) {
	number, unit := strings.ToLower(s), 1.0
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSuffix(n, " "), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%s is not a size: write it like 512k, 64MiB or 1GB", quote(s))
	}
	if f*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%s is too large for a size", quote(s))
	}
	return int64(f * unit), nil
}

// FormatSize writes a number of bytes the way a pipeline file would: "64MiB".
func FormatSize(n int64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := int64(1) << (40 - 10*i); n >= size && n%size == 0 {
			return fmt.Sprintf("%d%s", n/size, unit)
		}
	}
	return fmt.Sprintf("%dB", n)
}

// The kinds made of others.

// listOf is a list of at least one value.
func listOf[V any](what string, item kind[V]) kind[[]V] {
	s := typed("array")
	s["items"], s["minItems"] = item.schema, 1
	return kind[[]V]{s, func(r *reader, v value, to *[]V) bool {
		items, ok := r.list(v, what)
		if !ok {
			return false
		}
		if len(items) == 0 {
			r.failf(v, "want %s, not an empty list", what)
			return false
		}
		var out []V
		for _, it := range items {
			var one V
			if item.read(r, it, &one) {
				out = append(out, one)
			} else {
				ok = false
			}
		}
		*to = out
		return ok
	}}
}

// commaList is a list, or text with commas. Items may have commas too, because a reference can stand for several.
func commaList(what string, check func(string) (string, error)) kind[[]string] {
	split := kind[[]string]{typed("string"), func(r *reader, v value, to *[]string) bool {
		t, ok := r.text(v, what)
		if !ok {
			return false
		}
		var out []string
		for part := range strings.SplitSeq(t.Value, ",") {
			s, err := check(strings.TrimSpace(part))
			if err != nil {
				r.failf(v, "%v", err)
				return false
			}
			out = append(out, s)
		}
		*to = out
		return true
	}}
	list := listOf(what, split)
	return kind[[]string]{jsonSchema{"anyOf": []any{split.schema, list.schema}}, func(r *reader, v value, to *[]string) bool {
		if v.n.Kind == yaml.ScalarNode {
			return split.read(r, v, to)
		}
		var parts [][]string
		if !list.read(r, v, &parts) {
			return false
		}
		*to = slices.Concat(parts...)
		return true
	}}
}

// named is an ordered mapping from names the user chooses to values of one kind.
func named[V, E any](what string, item kind[V], make func(name string, keyPos Pos, v V) E) kind[[]E] {
	s := typed("object")
	s["additionalProperties"] = item.schema
	return kind[[]E]{s, func(r *reader, v value, to *[]E) bool {
		entries, ok := r.mapping(v, what)
		if !ok {
			return false
		}
		if len(entries) == 0 {
			r.failf(v, "want %s, not an empty mapping", what)
			return false
		}
		var out []E
		for _, e := range entries {
			var one V
			if item.read(r, e.value, &one) {
				out = append(out, make(e.key, e.keyPos, one))
			} else {
				ok = false
			}
		}
		*to = out
		return ok
	}}
}
