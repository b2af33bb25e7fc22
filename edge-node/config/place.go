package config

import "slices"

// WithoutPlaces is a copy of steps that does not say where in a file they stand: what is left differs only where they do something else.
func WithoutPlaces(steps []Step) []Step {
	out := slices.Clone(steps)
	for i := range out {
		s := &out[i]
		s.Pos = Pos{}
		if s.Filter != nil {
			s.Filter = &Text{Value: s.Filter.Value}
		}
		s.Map, s.Drop, s.Rename, s.Cast = slices.Clone(s.Map), slices.Clone(s.Drop), slices.Clone(s.Rename), slices.Clone(s.Cast)
		for j := range s.Map {
			s.Map[j].Pos, s.Map[j].Expr = Pos{}, Text{Value: s.Map[j].Expr.Value}
		}
		for j := range s.Drop {
			s.Drop[j].Pos = Pos{}
		}
		for j := range s.Rename {
			s.Rename[j].Pos, s.Rename[j].To.Pos = Pos{}, Pos{}
		}
		for j := range s.Cast {
			s.Cast[j].Pos, s.Cast[j].TypePos = Pos{}, Pos{}
		}
		s.Wasm = s.Wasm.withoutPlaces()
	}
	return out
}

func (w *Wasm) withoutPlaces() *Wasm {
	if w == nil {
		return nil
	}
	out := *w
	out.ModulePos, out.Shadow = Pos{}, w.Shadow.withoutPlaces()
	return &out
}
