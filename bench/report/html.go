package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"path"
)

//go:embed page.html
var pageText string

// page is what the template is given.
type page struct {
	*Document
	Verdict   string
	Sections  []section
	LiveParts []livePart
	CurveSVG  []curvePart
}

// section is a workload.
type section struct {
	*Throughput
	CPU, Speed, Memory template.HTML
	Headline           string
	Shares             []share
	LeftOut            []string
	Profiles           []link
}

// share is who used the machine while a contender had more than one core.
type share struct {
	Contender string
	*CoreSeconds
}

type link struct{ Name, Href string }

type livePart struct {
	Live
	CDF, Memory, Behind template.HTML
}

type curvePart struct {
	Curve
	SVG, Memory template.HTML
}

// WriteHTML writes one page with everything in it: no scripts, and nothing from elsewhere. profiles is the folder of the
// profiles as seen from the page.
func (d *Document) WriteHTML(to io.Writer, profiles string) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"number": Number, "thousands": Thousands, "interval": intervalText,
		"gib":         func(n int64) string { return fmt.Sprintf("%.0f GiB", float64(n)/(1<<30)) },
		"mib":         func(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) },
		"gbs":         func(v float64) string { return fmt.Sprintf("%.1f GB/s", v/1e9) },
		"thousands64": func(n int) string { return Thousands(int64(n)) },
		"whole":       func(v float64) string { return Thousands(int64(v)) },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("read the template of the page: %w", err)
	}
	p := page{Document: d, Verdict: "every answer was right, every figure within its limit"}
	if wrong := d.Wrong(); len(wrong) > 0 {
		p.Verdict = "WRONG ANSWERS: " + wrong[0]
	} else if len(d.Failed) > 0 {
		p.Verdict = "NOT ALL COULD BE MEASURED: " + d.Failed[0].Reason
	} else if !d.Met() {
		p.Verdict = "every answer was right; a figure is outside its limit"
	}
	for i := range d.Throughput {
		p.Sections = append(p.Sections, d.Throughput[i].section(profiles))
	}
	for _, l := range d.Live {
		p.LiveParts = append(p.LiveParts, l.part())
	}
	for _, c := range d.Curves {
		p.CurveSVG = append(p.CurveSVG, curvePart{c, c.svg(), c.memory()})
	}
	if err := t.Execute(to, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// class is the colour of a contender, the same in every chart.
func class(contender string) string {
	switch contender {
	case "weir":
		return "c0"
	case "bare":
		return "c1"
	case "hand":
		return "c2"
	}
	return "c3"
}

func (t *Throughput) section(profiles string) section {
	s := section{Throughput: t}
	var cpu, speed []bar
	for i := range t.Results {
		r := &t.Results[i]
		if r.LeftOut != "" && r.Cores == 1 {
			s.LeftOut = append(s.LeftOut, r.Contender+": "+r.LeftOut)
		}
		for _, p := range r.Profiles {
			s.Profiles = append(s.Profiles, link{p, path.Join(profiles, p)})
		}
		if len(r.Rounds) == 0 {
			continue
		}
		if c := r.Shares(); c != nil && r.Cores > 1 {
			s.Shares = append(s.Shares, share{r.Contender, c})
		}
		cost, rate := r.CPUPerMillion(t.Events), r.PerSecond(t.Events)
		if r.Cores == 1 {
			text := Number(Median(cost)) + " s"
			if ratio := t.ratioTo("bare", r); ratio != "-" {
				text += ", " + ratio + " of bare"
			}
			cpu = append(cpu, whisker(r.Contender, class(r.Contender), cost, text))
		}
		label := fmt.Sprintf("%s, %d core%s", r.Contender, r.Cores, plural(r.Cores))
		speed = append(speed, whisker(label, class(r.Contender), rate, Thousands(int64(Median(rate)))+"/s"))
	}
	s.CPU, s.Speed = bars(cpu), bars(speed)
	if w := t.Find("weir", 1); w != nil && len(w.Rounds) > 0 {
		s.Headline = fmt.Sprintf("%s events/s on one core, %s CPU-s per million, %.0f MiB", Thousands(int64(Median(w.PerSecond(t.Events)))),
			Number(Median(w.CPUPerMillion(t.Events))), Median(w.PeakMiB()))
	}
	memory := plot{x: "seconds since the start of the process", y: "MiB resident", from0: true, width: chartWidth, height: 200}
	for i := range t.Results {
		if r := &t.Results[i]; r.Cores == 1 && len(r.Memory) > 1 {
			memory.series = append(memory.series, series{name: r.Contender, class: class(r.Contender), points: r.Memory})
		}
	}
	s.Memory = memory.draw()
	return s
}

func whisker(label, class string, samples []float64, text string) bar {
	v := MedianInterval(samples)
	return bar{
		label: label, class: class, value: Median(samples), low: v.Low, high: v.High, text: text,
		tip: fmt.Sprintf("%s: median %s, %s", label, Number(Median(samples)), intervalText(samples)),
	}
}

func (l Live) part() livePart {
	out := livePart{Live: l}
	if d := l.Latency; d != nil {
		var points []Point
		for i, ms := range d.CDF {
			points = append(points, Point{ms, float64(i)})
		}
		p := plot{
			series: []series{{name: "records", class: "c0", points: points}}, x: "ms from produce to visible in ClickHouse", y: "% of the records", from0: true,
			vertical: []marker{{d.P50, fmt.Sprintf("p50 %.0f ms", d.P50)}, {d.P99, fmt.Sprintf("p99 %.0f ms", d.P99)}, {l.FlushMS, fmt.Sprintf("flush every %.0f ms", l.FlushMS)}},
			yTicks:   []float64{0, 25, 50, 75, 100},
		}
		out.CDF = p.draw()
	}
	memory := plot{series: []series{{name: "resident", class: "c0", points: l.Memory}}, x: "seconds since the start of the process", y: "MiB resident", from0: true, width: chartWidth, height: 200}
	out.Memory = memory.draw()
	behind := plot{series: []series{{name: "behind", class: "c3", points: l.Behind}}, x: "seconds", y: "records", from0: true, width: chartWidth, height: 200}
	out.Behind = behind.draw()
	return out
}

func (c *Curve) svg() template.HTML {
	return c.draw("CPU-s per million events", []series{{name: "weir", class: "c0", points: c.Points, dots: true}, {name: "bare consumer", class: "c1", points: c.Bare, dots: true}})
}

func (c *Curve) memory() template.HTML {
	return c.draw("peak MiB resident", []series{{name: "weir", class: "c0", points: c.Memory, dots: true}})
}

func (c *Curve) draw(y string, lines []series) template.HTML {
	p := plot{series: lines, x: c.Unit, y: y, from0: true, width: 460, height: 240}
	for _, q := range c.Points {
		p.xTicks = append(p.xTicks, q.X)
	}
	p.logX = len(c.Points) > 0 && c.Points[0].X > 0 && c.Points[len(c.Points)-1].X/math.Max(c.Points[0].X, 1e-9) >= 20
	return p.draw()
}
