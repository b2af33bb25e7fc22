package workload

import "fmt"

// Answers are rows of a query as ClickHouse's client gives them: the start of the window in milliseconds, the keys as text, and the
// values as float64, in the order of [Columns].
type Answers interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// ReadRows reads an answer to its end. It does not close it.
func ReadRows(answers Answers, columns Columns) ([]Row, error) {
	var out []Row
	for answers.Next() {
		r := Row{Keys: make([]string, len(columns.Keys)), Values: make([]float64, len(columns.Values))}
		dest := []any{&r.Start}
		for i := range r.Keys {
			dest = append(dest, &r.Keys[i])
		}
		for i := range r.Values {
			dest = append(dest, &r.Values[i])
		}
		if err := answers.Scan(dest...); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		out = append(out, r)
	}
	if err := answers.Err(); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return out, nil
}
