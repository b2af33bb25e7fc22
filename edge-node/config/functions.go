package config

import (
	"fmt"
	"regexp"
	"slices"
)

// Function is a function of the user's, to be called in expressions: an operator that gives one column.
type Function struct {
	Name string
	Pos  Pos // of the name
	Wasm Wasm
}

const functionName = `^[A-Za-z][A-Za-z0-9_]{0,62}$`

var functionNameRE = regexp.MustCompile(functionName)

// Function is the function of a name, or nil.
func (p *Pipeline) Function(name string) *Function {
	for i := range p.Functions {
		if p.Functions[i].Name == name {
			return &p.Functions[i]
		}
	}
	return nil
}

// functionsKind is a mapping of names to modules. Which names the language has taken, the planner knows.
func functionsKind() kind[[]Function] {
	table := functionTable()
	item := kind[Wasm]{table.jsonSchema(), func(r *reader, v value, to *Wasm) bool {
		*to = defaultWasm()
		to.Expansion = 1 // a value for each row
		return table.read(r, v, to)
	}}
	all := named("a mapping of names to modules", item, func(name string, pos Pos, w Wasm) Function { return Function{name, pos, w} })
	return kind[[]Function]{all.schema, func(r *reader, v value, to *[]Function) bool {
		if !all.read(r, v, to) {
			return false
		}
		for _, f := range *to {
			err := CheckName(f.Name)
			if err == nil && !functionNameRE.MatchString(f.Name) {
				err = fmt.Errorf("%s is not the name of a function: use letters, digits and _, beginning with a letter, at most 63", quote(f.Name))
			}
			if err != nil {
				r.addf(f.Pos, v.path, "%s: %v", v.path, err)
			}
		}
		return true
	}}
}

func functionTable() object[Wasm] {
	limits := limitsTable()
	limits.fields = slices.DeleteFunc(limits.fields, func(f field[Wasm]) bool { return f.key == "expansion" || f.key == "state" })
	fields := []field[Wasm]{moduleField("wasm")}
	for _, f := range wasmTable().fields {
		switch f.key {
		case "module", "name", "shadow":
		case "limits":
			fields = append(fields, limitsField(limits))
		default:
			fields = append(fields, f)
		}
	}
	return object[Wasm]{what: "a function", fields: fields}
}
