//go:build wasip1

// Calibrate corrects a temperature column by an offset per device class. It does what calibrate.c beside it does, in Go;
// that file has the configuration.
package main

import (
	"strings"

	"github.com/weir-stream/weir/operators/sdk/go/weir"
)

func init() { weir.Serve(open) }

func main() {}

func open(p *weir.Plan) (weir.Process, error) {
	p.ConfigKeys("column", "scale", "offset", "by", "classes")
	cfg := p.Config()
	scale, offset := cfg.Get("scale").Number(1), cfg.Get("offset").Number(0)
	column := p.Column(cfg.Get("column").Text("temp"), weir.Float64)
	classes := map[string]float64{}
	cfg.Get("classes").Each(func(class string, v weir.Value) { classes[class] = v.Number(0) })
	by := 0
	if len(classes) > 0 {
		by = p.Column(cfg.Get("by").Text("device"), weir.String)
	}
	p.PassAll()
	return func(b *weir.Batch) error {
		in := weir.Values[float64](b, column)
		out := weir.New[float64](b, column, b.Rows())
		if len(classes) == 0 {
			for i, v := range in {
				out[i] = v*scale + offset
			}
		} else {
			devices := b.Strings(by)
			for i, v := range in {
				class, _, _ := strings.Cut(devices.At(i), "-")
				add, ok := classes[class]
				if !ok {
					add = offset
				}
				out[i] = v*scale + add
			}
		}
		b.KeepNulls(column, column)
		return nil
	}, nil
}
