package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// bar is a line of a bar chart.
type bar struct {
	label string
	class string // of the style sheet: c0 to c5
	value float64
	// low and high are drawn as a whisker where they differ.
	low, high float64
	text      string // beside the bar
	tip       string
}

const (
	chartWidth = 720
	labelWidth = 150
	textWidth  = 150
	barHeight  = 22
	barGap     = 8
)

// bars draws horizontal bars from 0.
func bars(all []bar) template.HTML {
	top := 0.0
	for _, b := range all {
		top = math.Max(top, math.Max(b.value, b.high))
	}
	if top == 0 {
		top = 1
	}
	space := float64(chartWidth - labelWidth - textWidth)
	height := len(all)*(barHeight+barGap) + barGap
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" role="img">`, chartWidth, height)
	for i, b := range all {
		y := barGap + i*(barHeight+barGap)
		w := b.value / top * space
		end := w
		fmt.Fprintf(&s, `<g><title>%s</title>`, html.EscapeString(b.tip))
		fmt.Fprintf(&s, `<text class="label" x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-10, y+barHeight/2+5, html.EscapeString(b.label))
		fmt.Fprintf(&s, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, b.class, labelWidth, y, math.Max(w, 1), barHeight)
		if b.high > b.low {
			x1, x2, my := labelWidth+b.low/top*space, labelWidth+b.high/top*space, y+barHeight/2
			fmt.Fprintf(&s, `<path class="whisker" d="M%.1f %dH%.1fM%.1f %dv8M%.1f %dv8"/>`, x1, my, x2, x1, my-4, x2, my-4)
			end = math.Max(end, b.high/top*space)
		}
		fmt.Fprintf(&s, `<text class="value" x="%.1f" y="%d">%s</text></g>`, labelWidth+end+8, y+barHeight/2+5, html.EscapeString(b.text))
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) // every text in it is escaped above
}

// series is a line of a plot.
type series struct {
	name   string
	class  string // c0 to c5
	points []Point
	dots   bool
}

// marker is a vertical or horizontal line at a value, with a name.
type marker struct {
	at   float64
	name string
}

// plot is a chart of lines.
type plot struct {
	series         []series
	x, y           string // what the axes show
	logX           bool
	from0          bool // the y axis begins at 0
	vertical       []marker
	width, height  int
	xTicks, yTicks []float64 // instead of round numbers
}

const (
	plotLeft   = 62
	plotRight  = 24
	plotTop    = 14
	plotBottom = 40
)

// draw draws the plot. Without points it is empty.
func (p *plot) draw() template.HTML {
	x0, x1, y0, y1 := p.bounds()
	if x0 > x1 {
		return ""
	}
	if p.width == 0 {
		p.width, p.height = chartWidth, 260
	}
	fx := func(x float64) float64 {
		if p.logX {
			x = math.Log10(x)
		}
		return plotLeft + (x-x0)/(x1-x0)*float64(p.width-plotLeft-plotRight)
	}
	fy := func(y float64) float64 {
		return float64(p.height-plotBottom) - (y-y0)/(y1-y0)*float64(p.height-plotTop-plotBottom)
	}
	var s strings.Builder
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" role="img">`, p.width, p.height)
	ys := p.yTicks
	if ys == nil {
		ys = roundTicks(y0, y1, 5)
	}
	for _, y := range ys {
		fmt.Fprintf(&s, `<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			plotLeft, fy(y), p.width-plotRight, plotLeft-6, fy(y)+4, tickText(y))
	}
	xs := p.xTicks
	if xs == nil {
		xs = roundTicks(x0, x1, 7)
	}
	for _, x := range xs {
		fmt.Fprintf(&s, `<path class="axis" d="M%.1f %dv4"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			fx(x), p.height-plotBottom, fx(x), p.height-plotBottom+17, tickText(x))
	}
	fmt.Fprintf(&s, `<path class="axis" d="M%d %dH%d"/>`, plotLeft, p.height-plotBottom, p.width-plotRight)
	fmt.Fprintf(&s, `<text class="tick" x="%d" y="%d" text-anchor="middle">%s</text>`, (plotLeft+p.width-plotRight)/2, p.height-4, html.EscapeString(p.x))
	fmt.Fprintf(&s, `<text class="tick" transform="translate(12 %d) rotate(-90)" text-anchor="middle">%s</text>`, (plotTop+p.height-plotBottom)/2, html.EscapeString(p.y))
	for i, m := range p.vertical {
		x := fx(m.at)
		if x < plotLeft || x > float64(p.width-plotRight) {
			continue
		}
		anchor, dx := "start", 4.0
		if x > float64(p.width)*0.75 {
			anchor, dx = "end", -4
		}
		fmt.Fprintf(&s, `<path class="mark" d="M%.1f %dV%d"/><text class="tick" x="%.1f" y="%d" text-anchor="%s">%s</text>`,
			x, plotTop, p.height-plotBottom, x+dx, p.height-plotBottom-8-i%4*15, anchor, html.EscapeString(m.name))
	}
	for _, line := range p.series {
		var d strings.Builder
		for i, q := range line.points {
			d.WriteString(map[bool]string{true: "M", false: "L"}[i == 0])
			fmt.Fprintf(&d, "%.1f %.1f", fx(q.X), fy(q.Y))
		}
		fmt.Fprintf(&s, `<path class="line %s" d="%s"><title>%s</title></path>`, line.class, d.String(), html.EscapeString(line.name))
		if line.dots {
			for _, q := range line.points {
				fmt.Fprintf(&s, `<circle class="%s" cx="%.1f" cy="%.1f" r="3.5"><title>%s: %s at %s</title></circle>`,
					line.class, fx(q.X), fy(q.Y), html.EscapeString(line.name), Number(q.Y), Number(q.X))
			}
		}
	}
	s.WriteString(`</svg>`)
	return template.HTML(s.String()) // every text in it is escaped above
}

// bounds gives what the axes must show; x is in powers of ten where it is logarithmic.
func (p *plot) bounds() (x0, x1, y0, y1 float64) {
	x0, x1, y0, y1 = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, line := range p.series {
		for _, q := range line.points {
			x := q.X
			if p.logX {
				x = math.Log10(math.Max(x, 1e-9))
			}
			x0, x1, y0, y1 = math.Min(x0, x), math.Max(x1, x), math.Min(y0, q.Y), math.Max(y1, q.Y)
		}
	}
	if p.from0 {
		y0 = math.Min(0, y0)
	}
	if x1 == x0 {
		x1++
	}
	if y1 == y0 {
		y1++
	}
	return x0, x1, y0, y1 + (y1-y0)*0.06
}

// tickText writes a number on an axis, so short that it has room there.
func tickText(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + " M"
	case a >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + " k"
	case a >= 1000:
		return Thousands(int64(math.Round(v)))
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// roundTicks gives about n round numbers between two.
func roundTicks(from, to float64, n int) []float64 {
	if !(to > from) || math.IsInf(from, 0) || math.IsInf(to, 0) {
		return nil
	}
	raw := (to - from) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	switch f := raw / step; {
	case f > 5:
		step *= 10
	case f > 2:
		step *= 5
	case f > 1:
		step *= 2
	}
	var out []float64
	for i := math.Ceil(from / step); i*step <= to*(1+1e-12); i++ {
		out = append(out, i*step)
	}
	return out
}
