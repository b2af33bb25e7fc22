package clickhouse

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// stateShape finds the end of one aggregate state. States carry no length either; the layouts below are those of
// ClickHouse's AggregateFunction*.h, checked against the engine by the tests.
type stateShape struct{ walk func(w *walker) error }

func (w *walker) state(s *stateShape) error { return s.walk(w) }

// parseState reads the arguments of AggregateFunction(...): an optional version, the function, its argument types.
func parseState(list []string, depth int) (*stateShape, error) {
	if len(list) > 0 {
		if _, err := strconv.Atoi(list[0]); err == nil {
			list = list[1:]
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("AggregateFunction without a function")
	}
	name, params, err := splitType(list[0])
	if err != nil {
		return nil, err
	}
	args := make([]*shape, 0, len(list)-1)
	nullable := false
	for _, a := range list[1:] {
		s, err := parseType(a, depth)
		if err != nil {
			return nil, err
		}
		if s.kind == shapeLowCardinality {
			s = s.args[0]
		}
		if s.kind == shapeNullable {
			s, nullable = s.args[0], true
		}
		args = append(args, s)
	}
	name, args, err = stripCombinators(name, args)
	if err != nil {
		return nil, err
	}
	walk := stateWalk(name, params, args)
	if walk == nil {
		return nil, fmt.Errorf("the embedded server cannot tell where a state of %s ends; finish it with %sMerge, or cast it to String", name, name)
	}
	if nullable && name != "count" && !strings.HasPrefix(name, "uniq") {
		walk = optional(walk)
	}
	return &stateShape{walk: walk}, nil
}

// stripCombinators removes the suffixes that change the arguments and not the state.
func stripCombinators(name string, args []*shape) (string, []*shape, error) {
	for {
		switch {
		case strings.HasSuffix(name, "If") && len(args) > 0:
			name, args = strings.TrimSuffix(name, "If"), args[:len(args)-1]
		case strings.HasSuffix(name, "Array") && name != "groupArray" && name != "groupUniqArray" && len(args) > 0:
			inner := make([]*shape, len(args))
			for i, a := range args {
				if a.kind != shapeArray {
					return "", nil, fmt.Errorf("%s of something that is no array", name)
				}
				inner[i] = a.args[0]
			}
			name, args = strings.TrimSuffix(name, "Array"), inner
		default:
			return name, args, nil
		}
	}
}

func stateWalk(name string, params []string, args []*shape) func(*walker) error {
	arg := func(i int) *shape {
		if i < len(args) {
			return args[i]
		}
		return &shape{kind: shapeFixed, width: 8}
	}
	switch name {
	case "count":
		return varint
	case "sum":
		return fixed(sumWidth(arg(0)))
	case "sumCount", "avg":
		return sequence(fixed(sumWidth(arg(0))), varint)
	case "min", "max", "any", "anyLast", "any_value", "first_value", "last_value":
		return single(arg(0))
	case "argMin", "argMax":
		return sequence(single(arg(0)), single(arg(1)))
	case "varSamp", "varPop", "stddevSamp", "stddevPop":
		return fixed(24)
	case "varSampStable", "varPopStable", "stddevSampStable", "stddevPopStable":
		return sequence(varint, fixed(16))
	case "uniqExact":
		if len(args) == 1 && arg(0).kind == shapeFixed && arg(0).width <= 16 {
			return listOf(fixed(arg(0).width))
		}
		return listOf(fixed(16))
	case "uniq":
		return sequence(fixed(1), listOf(fixed(4)))
	case "uniqHLL12":
		return uniqHLL12
	case "uniqCombined", "uniqCombined64":
		return uniqCombined(name, params, args)
	case "sumMap":
		return sumMap(args)
	case "topK":
		switch arg(0).kind {
		case shapeString:
			return topK(text)
		case shapeFixed:
			return topK(fixed(arg(0).width))
		}
	case "groupBitmap":
		if len(args) != 1 || args[0].kind != shapeFixed {
			return nil
		}
		return groupBitmap(args[0].width)
	case "quantileTDigest", "quantilesTDigest":
		return listOf(fixed(8))
	case "quantileBFloat16", "quantilesBFloat16":
		return listOf(fixed(10))
	case "quantileExactWeighted", "quantilesExactWeighted":
		if arg(0).kind != shapeFixed {
			return nil
		}
		return listOf(fixed(arg(0).width + 8))
	case "quantileDD", "quantilesDD":
		return ddSketch
	case "groupArray":
		switch {
		case arg(0).kind == shapeFixed:
			return listOf(fixed(arg(0).width))
		case arg(0).kind == shapeString:
			return listOf(text)
		}
	}
	return nil
}

// sumWidth is how wide a sum is kept: 64 bits, or 128 of a Decimal, or as wide as the type.
func sumWidth(s *shape) int {
	if s.decimal {
		return max(16, s.width)
	}
	return max(8, s.width)
}

func sequence(parts ...func(*walker) error) func(*walker) error {
	return func(w *walker) error {
		for _, part := range parts {
			if err := part(w); err != nil {
				return err
			}
		}
		return nil
	}
}

func fixed(width int) func(*walker) error { return func(w *walker) error { return w.copyN(width) } }

func varint(w *walker) error {
	_, err := w.copyUvarint()
	return err
}

func text(w *walker) error { return w.copyStrings(1) }

// listOf is a varint count and as many items; every item has at least one byte.
func listOf(item func(*walker) error) func(*walker) error {
	return func(w *walker) error {
		n, err := w.copyCount(1)
		if err != nil {
			return err
		}
		for range n {
			if err := item(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// optional is one byte and, when it is not zero, the state.
func optional(inner func(*walker) error) func(*walker) error {
	return func(w *walker) error {
		has, err := w.copyByte()
		if err != nil || has == 0 {
			return err
		}
		return inner(w)
	}
}

func (w *walker) copyByte() (byte, error) {
	if err := w.copyN(1); err != nil {
		return 0, err
	}
	return w.out[len(w.out)-1], nil
}

// single is SingleValueData: for a number a flag and, if set, the value; for a string a signed 32-bit length that counts
// a closing NUL, -1 for none.
func single(s *shape) func(*walker) error {
	if s.kind == shapeFixed {
		return optional(fixed(s.width))
	}
	return func(w *walker) error {
		if s.kind != shapeString {
			return exceptionf(codeUnsupportedMethod, "an extreme of a nested type")
		}
		at := len(w.out)
		if err := w.copyN(4); err != nil {
			return err
		}
		n := int32(uint32(w.out[at]) | uint32(w.out[at+1])<<8 | uint32(w.out[at+2])<<16 | uint32(w.out[at+3])<<24)
		return w.copyN(int(max(n, 0)))
	}
}

// uniqHLL12 is a flag and then a short list of hashes, or 2,560 bytes of ranks and their histogram.
func uniqHLL12(w *walker) error {
	large, err := w.copyByte()
	if err != nil {
		return err
	}
	if large != 0 {
		return w.copyN(2650)
	}
	return listOf(fixed(8))(w)
}

// uniqCombined is a kind and then, for the kinds 1 and 2, a list of hashes, or for 3 a HyperLogLog of 2^K cells: their
// ranks in the fewest bits that hold them, a histogram of ranks, a count of zeros. Hashes of numbers have 32 bits,
// those of text and all of uniqCombined64 have 64.
func uniqCombined(name string, params []string, args []*shape) func(*walker) error {
	k := 17
	if len(params) == 1 {
		var err error
		if k, err = strconv.Atoi(params[0]); err != nil || k < 12 || k > 20 {
			return nil
		}
	}
	key := 4
	if name == "uniqCombined64" || len(args) != 1 || args[0].kind != shapeFixed || args[0].width > 8 {
		key = 8
	}
	maxRank := 8*key - k + 1
	zeros := 2
	if k >= 16 {
		zeros = 4
	}
	large := (1<<k*bits.Len(uint(maxRank))+7)/8 + 4*(maxRank+1) + zeros
	return func(w *walker) error {
		kind, err := w.copyByte()
		if err != nil {
			return err
		}
		switch kind {
		case 1, 2:
			return listOf(fixed(key))(w)
		case 3:
			return w.copyN(large)
		}
		return exceptionf(codeIncorrectData, "a %s state of kind %d", name, kind)
	}
}

// sumMap is a list of keys with their sums.
func sumMap(args []*shape) func(*walker) error {
	if len(args) < 2 {
		return nil
	}
	var parts []func(*walker) error
	for i, a := range args {
		if a.kind != shapeArray {
			return nil
		}
		switch item := a.args[0]; {
		case item.kind == shapeString && i == 0:
			parts = append(parts, text)
		case item.kind != shapeFixed:
			return nil
		case i == 0:
			parts = append(parts, fixed(item.width))
		default:
			parts = append(parts, fixed(sumWidth(item)))
		}
	}
	return listOf(sequence(parts...))
}

// topK is a list of values with count and error, and a list of counters for values that are no longer kept.
func topK(value func(*walker) error) func(*walker) error {
	return sequence(listOf(sequence(value, varint, varint)), listOf(varint))
}

// groupBitmap is a flag and then a list of values, or the length of a portable Roaring bitmap and the bitmap.
func groupBitmap(width int) func(*walker) error {
	return func(w *walker) error {
		large, err := w.copyByte()
		if err != nil {
			return err
		}
		if large == 0 {
			return listOf(fixed(width))(w)
		}
		return text(w)
	}
}

// ddSketch reads 02 gamma offset, 01 store, 03 store, 04 zero count. A store is 0C and a dense run of counts, or 04 and
// pairs of delta and count.
func ddSketch(w *walker) error {
	mark := func(want byte) error {
		b, err := w.copyByte()
		if err == nil && b != want {
			err = exceptionf(codeIncorrectData, "a quantilesDD state with mark %#x instead of %#x", b, want)
		}
		return err
	}
	store := func() error {
		kind, err := w.copyByte()
		if err != nil {
			return err
		}
		n, err := w.copyCount(8)
		if err != nil {
			return err
		}
		switch kind {
		case 0x0c:
			for range 2 { // first index, step
				if err := varint(w); err != nil {
					return err
				}
			}
			return w.copyItems(n, 8)
		case 0x04:
			for range n {
				if err := sequence(varint, fixed(8))(w); err != nil {
					return err
				}
			}
			return nil
		}
		return exceptionf(codeIncorrectData, "a quantilesDD store of kind %#x", kind)
	}
	if err := mark(2); err != nil {
		return err
	}
	if err := w.copyN(16); err != nil {
		return err
	}
	for _, m := range []byte{1, 3} {
		if err := mark(m); err != nil {
			return err
		}
		if err := store(); err != nil {
			return err
		}
	}
	if err := mark(4); err != nil {
		return err
	}
	return w.copyN(8)
}
