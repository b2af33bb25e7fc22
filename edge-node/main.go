// Command weir is an edge analytics engine: it reads Kafka topics, runs WebAssembly operators over them, aggregates in
// event-time windows, and ships exact totals to ClickHouse.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-stream/weir/edge-node/cli"
	"github.com/weir-stream/weir/edge-node/embedded"
)

func main() {
	// The demo starts this binary again as its broker and its ClickHouse.
	if code, ok := embedded.Child(); ok {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks to stop, the second ends the process at once.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
