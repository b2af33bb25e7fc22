package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/spf13/cobra"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/sink"
)

// The exit codes. "weir help exit-codes" explains them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInvalid     = 3
	exitUnreachable = 4
	exitDiffers     = 5
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

const exitCodesLong = `The exit code of every command says what kind of thing happened:

  0    done
  1    failed: the message says why
  2    wrong usage: an unknown command or flag, a missing argument
  3    a pipeline file or node.yaml is invalid, or its types do not fit;
       every error is a line file:line:col: message
  4    Kafka or ClickHouse cannot be reached, or refuses the login; for 'weir spool',
       also the node
  5    a result differs: 'weir demo' and 'weir bench' against their truth, 'weir
       audit' its proof, 'weir replay' the log, 'weir bench compare' for the worse
  130  interrupted before it was done

A script that waits for its dependencies retries on 4 and on nothing else.`

// usageError is a command line that makes no sense.
type usageError struct {
	msg  string
	help string // the command to ask for help
}

func (e *usageError) Error() string { return e.msg }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), cmd.CommandPath() + " --help"}
}

// unreachableError is a server that cannot be reached or does not let us in.
type unreachableError struct {
	err  error
	hint string
}

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }

// differsError is an answer that is not what it must be. The command has shown the difference.
type differsError struct{ msg string }

func (e *differsError) Error() string { return e.msg }

// silentError ends a command that has said everything itself.
type silentError struct{ code int }

func (e *silentError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// report writes an error for a person and gives the exit code.
func (a *app) report(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	var silent *silentError
	if errors.As(err, &silent) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return code
	}
	var invalid config.Errors
	var usage *usageError
	var away *unreachableError
	switch {
	case code == exitInterrupted:
		fmt.Fprintln(a.stderr, "weir: interrupted")
	case errors.As(err, &invalid):
		fmt.Fprintln(a.stderr, invalid.Error())
		if n := len(invalid); n > 1 {
			fmt.Fprintf(a.stderr, "weir: %d errors\n", n)
		}
	case errors.As(err, &usage):
		fmt.Fprintf(a.stderr, "weir: %s\n", usage.msg)
		if usage.help != "" {
			fmt.Fprintf(a.stderr, "see '%s'\n", usage.help)
		}
	case errors.As(err, &away) && away.hint != "":
		fmt.Fprintf(a.stderr, "weir: %s\nhint: %s\n", err, away.hint)
	default:
		fmt.Fprintf(a.stderr, "weir: %s\n", strings.TrimRight(err.Error(), "\n"))
	}
	return code
}

func exitCode(ctx context.Context, err error) int {
	var silent *silentError
	var usage *usageError
	var away *unreachableError
	var differs *differsError
	var toSink *sink.Error
	var network *net.OpError
	var name *net.DNSError
	var server *clickhouse.Exception
	switch {
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &differs):
		return exitDiffers
	case config.IsInvalid(err):
		return exitInvalid
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &away):
		return exitUnreachable
	case errors.As(err, &server):
		if refusesLogin(server.Code) {
			return exitUnreachable
		}
		return exitFailed
	case errors.As(err, &toSink) && toSink.Class == sink.Retry, errors.As(err, &network) && network.Op != "listen", errors.As(err, &name):
		return exitUnreachable
	}
	return exitFailed
}

// refusesLogin tells whether a ClickHouse error code is about who we are: UNKNOWN_USER, WRONG_PASSWORD,
// REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, AUTHENTICATION_FAILED.
func refusesLogin(code int32) bool {
	return code >= 192 && code <= 195 || code == 516
}
