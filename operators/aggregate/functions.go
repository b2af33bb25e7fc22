package aggregate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-stream/weir/ingest/batch"
)

// Spec is an aggregate function of a pipeline: what it is called, over what.
type Spec struct {
	Func   string
	Args   []batch.Field
	Params []float64 // the numbers behind the arguments
}

// Info describes a function.
type Info struct {
	Name string
	// Args is how many columns it is of, and Params how many numbers follow; -1 is any number from one on. Optional arguments
	// and parameters may be left out together.
	Args, Params int
	Optional     bool
	// Time says that it goes by event time, which it gets as its last argument without being written.
	Time bool
	// Usage is how it is written, and Does what it gives.
	Usage, Does string
	plan        func(Spec) *Aggregate
	check       func(Spec) error // of the parameters
}

// Functions lists every aggregate function, in the order of the documentation.
func Functions() []Info {
	return []Info{
		{Name: "count", Args: 1, Optional: true, Usage: "count() or count(x)", Does: "rows, or rows where x is not null", plan: newCount},
		{Name: "sum", Args: 1, Usage: "sum(x)", Does: "total; integers wrap around at 64 bits, decimals are exact", plan: newSum},
		{Name: "min", Args: 1, Usage: "min(x)", Does: "least value", plan: newMin},
		{Name: "max", Args: 1, Usage: "max(x)", Does: "greatest value", plan: newMax},
		{Name: "avg", Args: 1, Usage: "avg(x)", Does: "mean", plan: newAvg},
		{Name: "sum_kahan", Args: 1, Usage: "sum_kahan(x)", Does: "total of floats without the rounding errors of many", plan: newSumKahan},
		{Name: "var", Args: 1, Usage: "var(x)", Does: "variance of a sample", plan: newVar},
		{Name: "var_pop", Args: 1, Usage: "var_pop(x)", Does: "variance of all there is", plan: newVarPop},
		{Name: "stddev", Args: 1, Usage: "stddev(x)", Does: "standard deviation of a sample", plan: newStddev},
		{Name: "stddev_pop", Args: 1, Usage: "stddev_pop(x)", Does: "standard deviation of all there is", plan: newStddevPop},
		{Name: "covar", Args: 2, Usage: "covar(x, y)", Does: "covariance of a sample", plan: newCovar},
		{Name: "covar_pop", Args: 2, Usage: "covar_pop(x, y)", Does: "covariance of all there is", plan: newCovarPop},
		{Name: "corr", Args: 2, Usage: "corr(x, y)", Does: "Pearson's correlation, from -1 to 1", plan: newCorr},
		{Name: "median", Args: 1, Usage: "median(x)", Does: "value in the middle, within 1 %", plan: newMedian},
		{Name: "quantile", Args: 1, Params: 1, Usage: "quantile(x, 0.99)", Does: "value that the given share is at or below, within 1 %", plan: newQuantile, check: checkLevels},
		{Name: "quantiles", Args: 1, Params: -1, Usage: "quantiles(x, 0.5, 0.9, 0.99)", Does: "list of quantiles, from one sketch", plan: newQuantiles, check: checkLevels},
		{Name: "quantile_tdigest", Args: 1, Params: 1, Usage: "quantile_tdigest(x, 0.99)", Does: "value that the given share is at or below, nearest at the ends", plan: newQuantileTDigest, check: checkLevels},
		{Name: "quantiles_tdigest", Args: 1, Params: -1, Usage: "quantiles_tdigest(x, 0.5, 0.99)", Does: "list of such quantiles, from one digest", plan: newQuantilesTDigest, check: checkLevels},
		{Name: "histogram", Args: 1, Params: -1, Usage: "histogram(x, 10, 50, 100)", Does: "list of how many values are below, between and from the bounds on", plan: newHistogram, check: checkBounds},
		{Name: "uniq", Args: 1, Usage: "uniq(x)", Does: "how many values are different, with an error of 1.6 %", plan: newUniq},
		{Name: "uniq_combined", Args: 1, Usage: "uniq_combined(x)", Does: "how many values are different: exact up to 512, then with an error of 0.8 %", plan: newUniqCombined},
		{Name: "uniq_exact", Args: 1, Usage: "uniq_exact(x)", Does: "how many values are different; keeps them all", plan: newUniqExact},
		{Name: "topk", Args: 1, Params: 1, Usage: "topk(x, 10)", Does: "most frequent values, about", plan: newTopK, check: checkTopK},
		{Name: "first", Args: 1, Time: true, Usage: "first(x)", Does: "value with the least event time", plan: newFirst},
		{Name: "last", Args: 1, Time: true, Usage: "last(x)", Does: "value with the greatest event time", plan: newLast},
		{Name: "argmin", Args: 2, Usage: "argmin(x, y)", Does: "x where y is least", plan: newArgMin},
		{Name: "argmax", Args: 2, Usage: "argmax(x, y)", Does: "x where y is greatest", plan: newArgMax},
		{Name: "any", Args: 1, Usage: "any(x)", Does: "some value: the first one in the log of a partition", plan: newAny},
		{Name: "delta", Args: 1, Time: true, Usage: "delta(x)", Does: "by how much a counter rose between the first and last value of the window; resets are seen", plan: newDelta},
		{Name: "rate", Args: 1, Time: true, Usage: "rate(x)", Does: "delta per second", plan: newRate},
		{Name: "time_avg", Args: 1, Time: true, Usage: "time_avg(x)", Does: "mean of a value that holds until the next", plan: newTimeAvg},
		{Name: "bit_and", Args: 1, Usage: "bit_and(x)", Does: "bits that all integers have", plan: newBitAnd},
		{Name: "bit_or", Args: 1, Usage: "bit_or(x)", Does: "bits that any integer has", plan: newBitOr},
		{Name: "bit_xor", Args: 1, Usage: "bit_xor(x)", Does: "bits that an odd number of integers has", plan: newBitXor},
		{Name: "bool_and", Args: 1, Usage: "bool_and(x)", Does: "whether x is always true", plan: newBoolAnd},
		{Name: "bool_or", Args: 1, Usage: "bool_or(x)", Does: "whether x is ever true", plan: newBoolOr},
		{Name: "sum_map", Args: 2, Usage: "sum_map(key, x)", Does: "total of x by key, as a map; keeps all keys", plan: newSumMap},
		{Name: "group_bitmap", Args: 1, Usage: "group_bitmap(x)", Does: "how many integers are different; keeps them all, as a bitmap", plan: newGroupBitmap},
		{Name: "group_array", Args: 1, Params: 1, Usage: "group_array(x, 100)", Does: "list of the first values in the log", plan: newGroupArray, check: checkGroupArray},
	}
}

// Names lists the names of all functions.
func Names() []string {
	var names []string
	for _, f := range Functions() {
		names = append(names, f.Name)
	}
	return names
}

// Find finds a function by its name.
func Find(name string) (Info, bool) {
	all := Functions()
	i := slices.IndexFunc(all, func(f Info) bool { return f.Name == name })
	if i < 0 {
		return Info{}, false
	}
	return all[i], true
}

// New plans an aggregate function.
func New(s Spec) (*Aggregate, error) {
	f, ok := Find(s.Func)
	if !ok {
		return nil, fmt.Errorf("unknown aggregate %q; supported: %s", s.Func, strings.Join(Names(), " "))
	}
	if err := f.arity(s); err != nil {
		return nil, err
	}
	for _, arg := range s.Args {
		if arg.Type.Kind == batch.List {
			return nil, fmt.Errorf("%s of %s: a list, %s, has many values: take one in a map step, such as %s[0], len(%s) or max(%s), or make a row of each with an operator",
				s.Func, arg.Name, arg.Type, arg.Name, arg.Name, arg.Name)
		}
	}
	if f.check != nil {
		if err := f.check(s); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Usage, err)
		}
	}
	a := f.plan(s)
	if a == nil {
		for _, arg := range s.Args {
			if arg.Type.Kind == batch.Decimal {
				return nil, fmt.Errorf("%s of %s: there is none of columns of type %s: compute it of the nearest float, such as %s(float(%s)), or of integers of the smallest unit",
					f.Name, arg.Name, arg.Type, f.Name, arg.Name)
			}
		}
		types := make([]string, 0, len(s.Args))
		names := make([]string, 0, len(s.Args))
		for _, arg := range s.Args {
			types, names = append(types, arg.Type.String()), append(names, arg.Name)
		}
		if len(types) == 1 {
			return nil, fmt.Errorf("%s of %s: a column of type %s has no %s", f.Name, names[0], types[0], f.Name)
		}
		return nil, fmt.Errorf("%s of %s: columns of types %s have no %s", f.Name, strings.Join(names, ", "), strings.Join(types, ", "), f.Name)
	}
	a.Func, a.input, a.level = f.Name, s.Args, 0.5
	if len(s.Params) > 0 {
		a.level = s.Params[0]
	}
	return a, nil
}

// arity checks how many arguments and parameters there are.
func (f *Info) arity(s Spec) error {
	want := f.Args
	if f.Time {
		want++
	}
	if f.Optional && len(s.Args) == 0 && len(s.Params) == 0 {
		return nil
	}
	if len(s.Args) != want || f.Params >= 0 && len(s.Params) != f.Params || f.Params < 0 && len(s.Params) == 0 {
		if want == 1 && f.Params == 0 && len(s.Args) == 0 {
			return fmt.Errorf("%s needs a column: %s(column)", f.Name, f.Name)
		}
		return fmt.Errorf("%s is written %s", f.Name, f.Usage)
	}
	return nil
}
