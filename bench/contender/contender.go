// Package contender is what the benchmarks know of a program that does a workload: how it is started, and where its
// answer is found afterwards. weir is one; a bare consumer and programs written by hand are in this package; other engines
// are in bench/peers.
//
// A contender is a process of its own, so that what it used can be read from the system when it has ended. It reads the
// topic from the beginning, ends once all records are in its answer, by itself or where Command.Done says so, and gets no help
// from the harness in between. bench/harness runs it, measures it, and compares its answer with the truth before anything counts.
package contender

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-stream/weir/bench/workload"
)

// Contender is one program.
type Contender struct {
	// Name is how it is listed: a-z, 0-9 and hyphens.
	Name string
	// About says in a line what it is, with its version where that is known.
	About string
	// Ceiling marks a program that does less than the workload, and so gives no answer.
	Ceiling bool
	// Command prepares one run. It returns an error that wraps ErrCannot where this program cannot do the workload,
	// or is not installed: it is listed with the reason and does not fail the run. What it prepares, such as files in
	// Task.Dir or compiled code, is not measured.
	Command func(context.Context, Task) (Command, error)
}

// ErrCannot is in errors that say why a contender leaves a workload out.
var ErrCannot = errors.New("left out")

// Cannot says why a contender leaves a workload out.
func Cannot(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCannot, fmt.Sprintf(format, args...))
}

// Task is one run of a contender.
type Task struct {
	Case       workload.Case
	Size       workload.Size // as the topic was filled, without zero fields for Events and Partitions
	Brokers    []string
	Topic      string
	ClickHouse string // URL with a database that is there
	// Name is another one in each run: of groups, tables, application ids. a-z, 0-9 and hyphens.
	Name string
	// Dir is a folder for the run's files, which exists and is empty.
	Dir string
	// Cores is how many cores the harness lets the process run on.
	Cores int
}

// Command is a process to run.
type Command struct {
	Path string
	Args []string // without the name of the program
	Env  []string // added to the environment
	// Done is for a process that does not end by itself, and nil otherwise: it returns when all is in the answer, or with the end of the
	// context. The process is then asked to stop, and how it ends does not matter. What Done uses is not measured.
	Done func(context.Context) error
	// Finish makes the answer of what the process left, when it has ended, or is nil. It is not measured.
	Finish func() error
	// Answer says where the answer is then.
	Answer Answer
}

// Answer is where to find what a contender answered: one of the two, or none of a ceiling.
type Answer struct {
	// Table in Task.ClickHouse with the columns of the workload's Columns, and window_start.
	Table string
	// File with a JSON object per line, {"start": ms since 1970, "keys": ["…"], "values": [1.5]}, in the order of the
	// workload's Columns. A row may come more than once: the last one counts.
	File string
}
