package pipeline

import (
	"fmt"

	"github.com/weir-stream/weir/operators/window"
)

// planNumbering puts the step that numbers the rows of count windows behind the others, and gives the windows over what it gives.
func (p *Plan) planNumbering(w *window.Config) (*window.Config, error) {
	step, of, err := window.NewNumbering("count", w)
	if err != nil {
		return nil, err
	}
	p.Steps = append(p.Steps, step)
	p.Stages = append(p.Stages, Stage{
		Name: step.Name(), Schema: step.Out(), StateTable: stateTable,
		Does:  []string{fmt.Sprintf("number the windows of %d rows, and the rows in them", w.Count.Rows)},
		State: fmt.Sprintf("of each key of a partition whose window is open, how many rows it has; it is stored in the table %s", stateTable),
	})
	return of, nil
}
