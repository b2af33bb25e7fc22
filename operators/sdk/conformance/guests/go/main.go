//go:build wasip1

// Go is the conformance guest in Go. What each mode does is in operators/sdk/conformance/README.md.
package main

import (
	"errors"
	"strings"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
)

func init() { weir.Serve(open) }

func main() {}

func open(p *weir.Plan) (weir.Process, error) {
	mode := p.Config().Get("mode").Text("")
	if mode == "refuse" {
		return nil, errors.New(p.Config().Get("message").Text(""))
	}
	p.PassAll()
	switch mode {
	case "pass":
		return func(*weir.Batch) error { return nil }, nil
	case "copy":
		return copyAll(p), nil
	case "take":
		return take(p), nil
	case "repeat":
		return repeat(p), nil
	case "upper":
		return upper(p), nil
	case "count":
		return count(p), nil
	case "double":
		return double(p), nil
	case "fail", "panic":
		return fail(p, mode == "panic"), nil
	case "config":
		return constants(p), nil
	case "log":
		return log, nil
	case "explode":
		return explode(p), nil
	case "lists":
		return lists(p), nil
	default:
		return nil, errors.New("config.mode is not one of the modes")
	}
}

func copyAll(p *weir.Plan) weir.Process {
	return func(b *weir.Batch) error {
		for c := range p.Columns() {
			if t := p.Type(c); t.IsList() {
				copyLists(b, c, t.Item())
				b.KeepNulls(c, c)
				continue
			}
			switch p.Type(c) {
			case weir.String, weir.Binary:
				in, bytes := b.Strings(c), 0
				for i := range b.Rows() {
					bytes += len(in.At(i))
				}
				out := b.NewStrings(c, b.Rows(), bytes)
				for i := range b.Rows() {
					out.Add(in.At(i))
				}
			case weir.Bool:
				bits := b.NewBools(c, b.Rows())
				for i := range b.Rows() {
					if b.Bool(c, i) {
						bits[i>>3] |= 1 << (i & 7)
					}
				}
			case weir.Int8:
				copyFixed[int8](b, c)
			case weir.Int16:
				copyFixed[int16](b, c)
			case weir.Int32, weir.Date32:
				copyFixed[int32](b, c)
			case weir.Uint8:
				copyFixed[uint8](b, c)
			case weir.Uint16:
				copyFixed[uint16](b, c)
			case weir.Uint32:
				copyFixed[uint32](b, c)
			case weir.Uint64:
				copyFixed[uint64](b, c)
			case weir.Float32:
				copyFixed[float32](b, c)
			case weir.Float64:
				copyFixed[float64](b, c)
			default:
				copyFixed[int64](b, c)
			}
			for i := range b.Rows() {
				if !b.Valid(c, i) {
					b.SetNull(c, b.Rows(), i)
				}
			}
		}
		return nil
	}
}

func copyFixed[T weir.Fixed](b *weir.Batch, c int) {
	out := weir.New[T](b, c, b.Rows())
	for i, v := range weir.Values[T](b, c) {
		out[i] = v
	}
}

func copyLists(b *weir.Batch, c int, item weir.Type) {
	switch item {
	case weir.String, weir.Binary:
		in := b.StringLists(c)
		out := b.NewStringLists(c, b.Rows(), in.Len(), in.Bytes())
		for i := range b.Rows() {
			for k := range in.At(i).Len() {
				out.Append(in.At(i).At(k))
			}
			out.End()
		}
	case weir.Bool:
		in := b.BoolLists(c)
		out := b.NewBoolLists(c, b.Rows(), in.Len())
		for i := range b.Rows() {
			for k := range in.At(i).Len() {
				out.Append(in.At(i).At(k))
			}
			out.End()
		}
	case weir.Int8, weir.Uint8:
		copyFixedLists[int8](b, c)
	case weir.Int16, weir.Uint16:
		copyFixedLists[int16](b, c)
	case weir.Int32, weir.Uint32, weir.Date32:
		copyFixedLists[int32](b, c)
	case weir.Float32:
		copyFixedLists[float32](b, c)
	case weir.Float64:
		copyFixedLists[float64](b, c)
	default:
		copyFixedLists[int64](b, c)
	}
}

func copyFixedLists[T weir.Fixed](b *weir.Batch, c int) {
	in := weir.Lists[T](b, c)
	out := weir.NewLists[T](b, c, b.Rows(), in.Len())
	for i := range b.Rows() {
		out.Add(in.At(i))
	}
}

func explode(p *weir.Plan) weir.Process {
	xs := p.Column("xs", weir.ListOf(weir.Float64))
	index, x := p.Declare("i", weir.Int32, false), p.Declare("x", weir.Float64, false)
	p.KeepRows()
	return func(b *weir.Batch) error {
		in, made := weir.Lists[float64](b, xs), 0
		for i := range b.Rows() {
			made += len(in.At(i))
		}
		rows, numbers, values, at := b.Selection(made), weir.New[int32](b, index, made), weir.New[float64](b, x, made), 0
		for i := range b.Rows() {
			for k, v := range in.At(i) {
				rows[at], numbers[at], values[at] = int32(i), int32(k), v
				at++
			}
		}
		b.Take(rows)
		return nil
	}
}

func lists(p *weir.Plan) weir.Process {
	xs, ss := p.Column("xs", weir.ListOf(weir.Float64)), p.Column("ss", weir.ListOf(weir.String))
	positive := p.Declare("positive", weir.ListOf(weir.Bool), false)
	return func(b *weir.Batch) error {
		numbers, texts, n := weir.Lists[float64](b, xs), b.StringLists(ss), b.Rows()
		rest, flags := weir.NewLists[float64](b, xs, n, numbers.Len()), b.NewBoolLists(positive, n, numbers.Len())
		reversed := b.NewStringLists(ss, n, texts.Len(), texts.Bytes())
		for i := range n {
			list := numbers.At(i)
			for _, v := range list {
				flags.Append(v > 0)
			}
			flags.End()
			rest.Add(list[min(1, len(list)):])
			t := texts.At(i)
			for k := t.Len() - 1; k >= 0; k-- {
				if s := t.At(k); s != "" {
					reversed.Append(s)
				}
			}
			reversed.End()
		}
		b.KeepNulls(xs, xs)
		b.KeepNulls(ss, ss)
		return nil
	}
}

func take(p *weir.Plan) weir.Process {
	n := p.Column("n", weir.Int64)
	p.KeepRows()
	return func(b *weir.Batch) error {
		rows, kept := b.Selection(b.Rows()), 0
		for i, v := range weir.Values[int64](b, n) {
			if b.Valid(n, i) && v%2 == 0 {
				rows[kept] = int32(i)
				kept++
			}
		}
		b.Take(rows[:kept])
		return nil
	}
}

func repeat(p *weir.Plan) weir.Process {
	n := p.Column("n", weir.Int64)
	added := p.Declare("copy", weir.Int32, false)
	p.KeepRows()
	return func(b *weir.Batch) error {
		times, made := weir.Values[int64](b, n), 0
		for i, v := range times {
			if b.Valid(n, i) && v > 0 {
				made += int(v)
			}
		}
		rows, number, at := b.Selection(made), weir.New[int32](b, added, made), 0
		for i, v := range times {
			for k := 0; b.Valid(n, i) && k < int(v); k++ {
				rows[at], number[at] = int32(i), int32(k)
				at++
			}
		}
		b.Take(rows)
		return nil
	}
}

func upper(p *weir.Plan) weir.Process {
	s := p.Column("s", weir.String)
	added := p.Declare("size", weir.Uint32, true)
	return func(b *weir.Batch) error {
		in, bytes := b.Strings(s), 0
		size := weir.New[uint32](b, added, b.Rows())
		for i := range size {
			size[i] = uint32(len(in.At(i)))
			bytes += len(in.At(i))
		}
		out := b.NewStrings(s, b.Rows(), bytes)
		for i := range b.Rows() {
			out.Add(strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r - 32
				}
				return r
			}, in.At(i)))
			if !b.Valid(s, i) {
				b.SetNull(added, b.Rows(), i)
			}
		}
		b.KeepNulls(s, s)
		return nil
	}
}

func count(p *weir.Plan) weir.Process {
	added := p.Declare("seen", weir.Int64, false)
	seen := int64(0)
	return func(b *weir.Batch) error {
		out := weir.New[int64](b, added, b.Rows())
		for i := range out {
			out[i] = seen
			seen++
		}
		return nil
	}
}

func double(p *weir.Plan) weir.Process {
	n := p.Column("n", weir.Int64)
	added := p.Declare("seven", weir.Bool, true)
	return func(b *weir.Batch) error {
		out, seven := weir.New[int64](b, n, b.Rows()), b.NewBools(added, b.Rows())
		b.KeepNulls(n, n)
		b.KeepNulls(added, n)
		for i, v := range weir.Values[int64](b, n) {
			out[i] = v * 2
			switch v {
			case 7:
				seven[i>>3] |= 1 << (i & 7)
			case 77:
				b.SetNull(n, b.Rows(), i)
			}
		}
		return nil
	}
}

func fail(p *weir.Plan, panics bool) weir.Process {
	n := p.Column("n", weir.Int64)
	return func(b *weir.Batch) error {
		for i, v := range weir.Values[int64](b, n) {
			if v == 13 && b.Valid(n, i) {
				if panics {
					panic("thirteen")
				}
				return errors.New("a row has n = 13: größer geht's nicht")
			}
		}
		return nil
	}
}

func constants(p *weir.Plan) weir.Process {
	number := p.Declare("number", weir.Float64, false)
	text := p.Declare("text", weir.String, false)
	flag := p.Declare("flag", weir.Bool, false)
	sum := p.Declare("sum", weir.Float64, false)
	keys := p.Declare("keys", weir.String, false)
	cfg := p.Config()
	var names []string
	total := 0.0
	cfg.Get("entries").Each(func(key string, v weir.Value) {
		names = append(names, key)
		total += v.Number(0)
	})
	all, word := strings.Join(names, ","), cfg.Get("text").Text("none")
	return func(b *weir.Batch) error {
		n := b.Rows()
		numbers, sums, flags := weir.New[float64](b, number, n), weir.New[float64](b, sum, n), b.NewBools(flag, n)
		words, lists := b.NewStrings(text, n, n*len(word)), b.NewStrings(keys, n, n*len(all))
		for i := range n {
			numbers[i], sums[i] = cfg.Get("number").Number(-1), total
			if cfg.Get("flag").Bool(false) {
				flags[i>>3] |= 1 << (i & 7)
			}
			words.Add(word)
			lists.Add(all)
		}
		return nil
	}
}

func log(*weir.Batch) error {
	weir.Log(0, "a debug line")
	weir.Log(1, "an info line")
	weir.Log(2, "a warning")
	weir.Log(3, "an error: größer")
	return nil
}
