package report

import "testing"

func TestJudge(t *testing.T) {
	one := func(name string, easier bool, samples ...float64) []Figure {
		return []Figure{{Name: name, Samples: samples, Easier: easier}}
	}
	for name, c := range map[string]struct {
		figures []Figure
		figure  string
		want    Outcome
	}{
		"as much as asked":              {one("decode_ns_per_record", false, 150), "decode_ns_per_record", Kept},
		"more than asked":               {one("decode_ns_per_record", false, 140, 160, 170), "decode_ns_per_record", NotKept},
		"not there":                     {nil, "decode_ns_per_record", NotMeasured},
		"at least, and more":            {one("speed_on_2_cores", false, 1.9), "speed_on_2_cores", Kept},
		"at least, and as much":         {one("speed_on_2_cores", false, 1.8), "speed_on_2_cores", Kept},
		"at least, and less":            {one("speed_on_2_cores", false, 1.7), "speed_on_2_cores", NotKept},
		"kept under easier conditions":  {one("peak_memory_10000_keys", true, 100), "peak_memory_10000_keys", NotMeasured},
		"not kept, although it is easy": {one("peak_memory_10000_keys", true, 300), "peak_memory_10000_keys", NotKept},
	} {
		d := &Document{Figures: c.figures}
		d.Judge()
		found := false
		for _, a := range d.Asked {
			if a.Figure == c.figure {
				if found = true; a.Outcome != c.want || (a.Measured == nil) != (c.figures == nil) {
					t.Errorf("%s: %s, measured %v; should be %s", name, a.Outcome, a.Measured, c.want)
				}
			} else if a.Outcome != NotMeasured || a.Measured != nil {
				t.Errorf("%s: %s is %s", name, a.Figure, a.Outcome)
			}
		}
		if !found {
			t.Errorf("%s: nothing is asked of %s", name, c.figure)
		}
	}
}
