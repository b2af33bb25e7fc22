package wasm

import (
	"fmt"
	"strings"
)

// ModuleError says why a module cannot be a step. It is for whoever wrote the pipeline or the operator.
type ModuleError struct {
	Module  string // file name, or the step's name
	Problem string // what is wrong, as a sentence that follows the module's name
	Hint    string // what to do; may be empty
	Err     error  // the cause, when there is one
}

// Error is "calibrate.wasm: does not export weir_process; ...".
func (e *ModuleError) Error() string {
	s := e.Module + ": " + e.Problem
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap is the cause.
func (e *ModuleError) Unwrap() error { return e.Err }

// Fault is how a call of a guest failed.
type Fault string

// The faults.
const (
	FaultTrap   Fault = "trap"         // the guest trapped: out of bounds, unreachable, exit
	FaultError  Fault = "error"        // the guest said it failed
	FaultOutput Fault = "bad output"   // what the guest returned is not a valid batch of its schema
	FaultFuel   Fault = "out of fuel"  // the call did not end within its fuel
	FaultStack  Fault = "out of stack" // its functions called each other too deep
	FaultRoom   Fault = "no room"      // the rows do not fit the instance's windows, even one at a time
)

// FaultDeadline is a call that did not end in time. It says something about the machine, not the rows: it fails the batch
// whatever on_error says, since the rows would not be rejected again on replay.
const FaultDeadline Fault = "deadline"

// FaultState is a state that cannot be taken or is over its limit. It fails the batch whatever on_error says: which row is
// to blame would depend on how rows were cut into batches.
const FaultState Fault = "state"

// CallError is a failed call of a guest. The instance is gone by then.
type CallError struct {
	Fault Fault
	Err   error
}

// Error is "trap: wasm error: unreachable ...".
func (e *CallError) Error() string { return string(e.Fault) + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *CallError) Unwrap() error { return e.Err }

// detail is the error on one line of bounded length, for a dead letter.
func (e *CallError) detail() string {
	return shorten(strings.ReplaceAll(strings.ReplaceAll(e.Error(), "\n\t", " "), "\n", " "), 512)
}

// shorten cuts text to at most n bytes and makes it valid UTF-8.
func shorten(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

func outputError(format string, args ...any) *CallError {
	return &CallError{Fault: FaultOutput, Err: fmt.Errorf(format, args...)}
}
