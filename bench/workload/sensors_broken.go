package workload

import "bytes"

// Broken is a way in which a record can be broken. Each is broken in this one way only.
type Broken uint8

// The kinds of broken records, and the reason a pipeline must give for each.
const (
	Empty     Broken = iota + 1 // no value: "empty"
	NotJSON                     // some other text or bytes: "malformed"
	Truncated                   // JSON that ends in the middle: "malformed"
	WrongType                   // the temperature is a word: "wrong_type"
	Missing                     // no temperature, or a null: "missing"
	Huge                        // well formed, and larger than a pipeline takes: "too_large"
)

// BrokenKinds lists all kinds.
func BrokenKinds() []Broken { return []Broken{Empty, NotJSON, Truncated, WrongType, Missing, Huge} }

// hugeOneIn makes huge records rarer than other broken ones, for they are ten thousand times as large.
const hugeOneIn = 20

var (
	notJSON = [][]byte{
		[]byte("temp=21.37;status=ok"),
		[]byte("<reading temp=\"21.37\"/>"),
		{0x00, 0x00, 0x00, 0x00, 0x2a, 0x0a, 0xff, 0xfe},
	}
	tempField = []byte(`"temp":`)
)

func (g *SensorsGen) breakRecord(r *Record, nominal int64) {
	g.write(r, g.measure(nominal), nominal)
	kind := g.pick(g.cfg.Broken)
	if kind == Huge && len(g.small) > 0 && g.dice.below(hugeOneIn) != 0 {
		kind = g.pick(g.small)
	}
	v := r.Value
	at := bytes.Index(v, tempField)
	comma := at + bytes.IndexByte(v[at:], ',')
	switch kind {
	case Empty:
		v = v[:0]
	case NotJSON:
		v = append(v[:0], notJSON[g.dice.below(uint64(len(notJSON)))]...)
	case Truncated:
		v = v[:1+g.dice.below(uint64(len(v)-1))]
	case WrongType:
		v = g.splice(v, at+len(tempField), comma, `"hot"`)
	case Missing:
		if g.dice.below(2) == 0 {
			v = g.splice(v, at, comma+1, "")
		} else {
			v = g.splice(v, at+len(tempField), comma, "null")
		}
	case Huge:
		v = append(v[:len(v)-1], `,"trace":"`...)
		for len(v) < g.cfg.HugeSize-2 {
			v = append(v, "0123456789abcdef"[:min(16, g.cfg.HugeSize-2-len(v))]...)
		}
		v = append(v, `"}`...)
	}
	r.Value = v
}

func (g *SensorsGen) pick(kinds []Broken) Broken { return kinds[g.dice.below(uint64(len(kinds)))] }

// splice replaces v[from:to] by text.
func (g *SensorsGen) splice(v []byte, from, to int, text string) []byte {
	tail := append(g.scratch.Value[:0], v[to:]...)
	g.scratch.Value = tail
	return append(append(v[:from], text...), tail...)
}
