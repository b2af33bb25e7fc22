package endtoend

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/weir-stream/weir/edge-node/cli"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// What this binary is, beside tests: a node of a case, or weir itself with its command line.
const (
	envNode = "WEIR_TEST_NODE" // a nodeSpec as JSON
	envWeir = "WEIR_TEST_WEIR"
	// envStore makes it a child that writes a store: the directory, and with a + before it without syncs.
	envStore = "WEIR_TEST_STORE"
)

func TestMain(m *testing.M) {
	node, weir, store := os.Getenv(envNode), os.Getenv(envWeir), os.Getenv(envStore)
	switch {
	case node != "":
		os.Exit(childNode(node))
	case weir != "":
		os.Exit(childWeir())
	case store != "":
		os.Exit(childStore(store))
	}
	// The tests wait for processes and clocks most of the time: more of them than cores can run.
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "6")
	}
	code := embeddedtest.Run(m)
	built.remove()
	os.Exit(code)
}

// withParent ends this process with the one that started it, which holds the other end of stdin.
func withParent() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
}

func childNode(text string) int {
	withParent()
	var s nodeSpec
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		_, err = s.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// childWeir is edge-node/main.go.
func childWeir() int {
	_ = os.Unsetenv(envWeir)
	withParent()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
}
