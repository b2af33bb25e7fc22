package report

import (
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
)

// frame is a function in its place below its callers.
type frame struct {
	name  string
	value int64
	below map[string]*frame
}

const (
	flameWidth = 1400
	flameRow   = 17
	flameTop   = 34
	flameDepth = 80  // rows
	flameLeast = 0.6 // pixels, below which a frame is left out
)

// WriteFlame reads a profile of pprof and writes it as a flame graph: wider is more, callers are above what they call. The
// picture stands alone: names and shares appear where the pointer rests.
func WriteFlame(to io.Writer, profile io.Reader, title string) error {
	stacks, err := readProfile(profile)
	if err != nil {
		return err
	}
	root := &frame{name: "all", below: map[string]*frame{}}
	deepest := 0
	for _, s := range stacks {
		at := root
		root.value += s.value
		deepest = max(deepest, min(len(s.functions), flameDepth))
		for _, name := range s.functions[:min(len(s.functions), flameDepth)] {
			next := at.below[name]
			if next == nil {
				next = &frame{name: name, below: map[string]*frame{}}
				at.below[name] = next
			}
			next.value += s.value
			at = next
		}
	}
	if root.value == 0 {
		return fmt.Errorf("draw a flame graph: the profile has no samples")
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d">`+"\n", flameWidth, flameTop+(deepest+1)*flameRow+10, flameWidth)
	b.WriteString(`<style>text{font:11px system-ui,"DejaVu Sans",sans-serif;fill:#1c2430}.t{font-size:15px;font-weight:600}rect{stroke:#fff;stroke-width:.6}` +
		`.w{fill:#7fb2ea}.k{fill:#f3b983}.r{fill:#c9d0d8}.o{fill:#9fd3b6}.b{fill:#fff;stroke:none}</style>`)
	fmt.Fprintf(&b, `<rect class="b" width="100%%" height="100%%"/><text class="t" x="8" y="20">%s</text>`, html.EscapeString(title))
	b.WriteString(`<text x="560" y="20">blue: weir; orange: Kafka client; grey: the Go runtime; green: everything else</text>` + "\n")
	root.draw(&b, 0, 0, float64(flameWidth)/float64(root.value), root.value)
	b.WriteString("</svg>\n")
	if _, err := io.WriteString(to, b.String()); err != nil {
		return fmt.Errorf("write a flame graph: %w", err)
	}
	return nil
}

// draw writes a frame and those below it. Depth is bounded by flameDepth.
func (f *frame) draw(b *strings.Builder, x float64, depth int, scale float64, all int64) {
	w := float64(f.value) * scale
	if w < flameLeast {
		return
	}
	y := flameTop + depth*flameRow
	fmt.Fprintf(b, `<g><title>%s: %.1f %%</title><rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`,
		html.EscapeString(f.name), float64(f.value)/float64(all)*100, f.class(), x, y, w, flameRow)
	// A letter is about 6.5 pixels wide.
	if text := short(f.name); w > 30 {
		if room := int(w / 6.5); len(text) > room {
			text = text[:max(0, room-1)] + "…"
		}
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, x+3, y+12, html.EscapeString(strings.ToValidUTF8(text, "")))
	}
	b.WriteString("</g>\n")
	for _, name := range slices.Sorted(maps.Keys(f.below)) {
		next := f.below[name]
		next.draw(b, x, depth+1, scale, all)
		x += float64(next.value) * scale
	}
}

// short is a function's name without the path of its package.
func short(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

func (f *frame) class() string {
	switch {
	case strings.Contains(f.name, "weir-stream/weir") || f.name == "main.main":
		return "w"
	case strings.Contains(f.name, "franz-go") || strings.Contains(f.name, "lz4"):
		return "k"
	case strings.HasPrefix(f.name, "runtime.") || strings.HasPrefix(f.name, "internal/runtime") || strings.HasPrefix(f.name, "gcWriteBarrier"):
		return "r"
	}
	return "o"
}
