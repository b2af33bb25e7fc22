//go:build wasip1

package weir

import "errors"

// Open checks the input and the configuration, declares the output, and returns what processes the batches. It is called
// once, before any batch.
type Open func(p *Plan) (Process, error)

// Process makes the output columns of one batch. An error, or a panic, fails the batch.
type Process func(b *Batch) error

// Plan is what an operator sees when it is opened.
type Plan struct {
	names  []string
	types  []Type
	nulls  []bool
	config Value
	out    []output
	rows   bool
	err    error
}

// output is a declared output column.
type output struct {
	name string
	typ  Type
	null bool
	from int // the input column that it is, or -1
}

// Columns is the number of input columns. They are numbered from 0.
func (p *Plan) Columns() int { return len(p.names) - 1 } // the last one is the hidden row column

// Name is the name of an input column.
func (p *Plan) Name(column int) string { return p.names[column] }

// Type is the type of an input column.
func (p *Plan) Type(column int) Type { return p.types[column] }

// Find is the number of the named input column, or -1.
func (p *Plan) Find(name string) int {
	for i := range p.Columns() {
		if p.names[i] == name {
			return i
		}
	}
	return -1
}

// Column is the number of an input column that the operator needs. Where it is missing or of another type, the operator is
// refused with a message that says so, and the number is of no use.
func (p *Plan) Column(name string, t Type) int {
	c := p.Find(name)
	switch {
	case c < 0:
		p.Refuse("needs a column " + name + " of type " + t.String() + "; there is none of this name")
		return 0
	case t != Any && p.types[c] != t:
		p.Refuse("needs column " + name + " of type " + t.String() + "; it is " + p.types[c].String())
	}
	return c
}

// Refuse makes the operator refuse its input or configuration, when open returns.
func (p *Plan) Refuse(why string) {
	if p.err == nil {
		p.err = errors.New(why)
	}
}

// Config is the configuration of the step.
func (p *Plan) Config() Value { return p.config }

// Pass declares an output column that is an input column, untouched unless a batch makes new values for it. It returns the
// number of the output column.
func (p *Plan) Pass(column int) int {
	p.out = append(p.out, output{p.names[column], p.types[column], p.nulls[column], column})
	return len(p.out) - 1
}

// PassAll passes every input column, so that input and output columns have the same numbers.
func (p *Plan) PassAll() {
	for i := range p.Columns() {
		p.Pass(i)
	}
}

// Declare declares a new output column, which every batch must make. It returns the number of the output column.
func (p *Plan) Declare(name string, t Type, nullable bool) int {
	p.out = append(p.out, output{name, t, nullable, -1})
	return len(p.out) - 1
}

// KeepRows says that the operator drops or adds rows, with Batch.Take: the host learns which row each one comes from.
func (p *Plan) KeepRows() { p.rows = true }
