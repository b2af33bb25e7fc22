//go:build wasip1

// Severity keeps readings from a warning level up, and says how bad they are in a new column. It does what severity.c
// beside it does, in Go; that file has the configuration.
package main

import (
	"errors"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
)

func init() { weir.Serve(open) }

func main() {}

func open(p *weir.Plan) (weir.Process, error) {
	cfg := p.Config()
	column := p.Column(cfg.Get("column").Text("temp"), weir.Float64)
	warning, critical := cfg.Get("warning").Number(60), cfg.Get("critical").Number(80)
	if critical < warning {
		return nil, errors.New("config.critical is below config.warning")
	}
	p.PassAll()
	severity := p.Declare("severity", weir.String, false)
	p.KeepRows()
	return func(b *weir.Batch) error {
		values := weir.Values[float64](b, column)
		rows, kept := b.Selection(b.Rows()), 0
		for i, v := range values {
			if v >= warning && b.Valid(column, i) {
				rows[kept] = int32(i)
				kept++
			}
		}
		words := b.NewStrings(severity, kept, kept*len("critical"))
		for _, r := range rows[:kept] {
			if values[r] >= critical {
				words.Add("critical")
			} else {
				words.Add("warning")
			}
		}
		b.Take(rows[:kept])
		return nil
	}, nil
}
