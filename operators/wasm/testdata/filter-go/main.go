//go:build wasip1

// The kernel of the benchmark, as filter.c has it: keep rows with temp > 30, and of their columns id, name and temp.
package main

import "github.com/weir-stream/weir/operators/sdk/go/weir"

func init() { weir.Serve(open) }

func main() {}

func open(p *weir.Plan) (weir.Process, error) {
	temp := p.Column("temp", weir.Float64)
	p.Pass(p.Column("id", weir.Int64))
	p.Pass(p.Column("name", weir.String))
	p.Pass(temp)
	p.KeepRows()
	return func(b *weir.Batch) error {
		keep := b.Mask()
		for i, v := range weir.Values[float64](b, temp) {
			keep[i] = v > 30
		}
		b.Filter(keep, temp)
		return nil
	}, nil
}
