// Command bench measures weir from outside: it builds the binary, drives it over the real protocols against the embedded
// broker and the embedded ClickHouse, and reports ratios of things measured in the same run.
//
//	go run ./bench -smoke          about a minute; the last line has the ratios
//	go run ./bench -smoke -json    the same as one JSON document
//
// Times on shared machines are noisy, so every claim is a ratio to a ceiling measured beside it: a bare franz-go
// consumer of the same topic that does nothing with the records.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"

	"github.com/weir-stream/weir/edge-node/embedded"
)

func main() {
	// The program starts itself again as broker, as ClickHouse, and as the bare consumer.
	if code, ok := embedded.Child(); ok {
		os.Exit(code)
	}
	if len(os.Args) == 6 && os.Args[1] == "bare-consumer" {
		if err := bareConsumer(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	smoke := flag.Bool("smoke", false, "run the short benchmark")
	asJSON := flag.Bool("json", false, "print one JSON document on stdout")
	events := flag.Int64("events", 2_000_000, "records in the topic")
	rounds := flag.Int("rounds", 3, "rounds; the figures are medians")
	flag.Parse()
	if !*smoke || flag.NArg() > 0 {
		return fmt.Errorf("give -smoke: it is the only benchmark so far")
	}
	if *events < 1000 || *rounds < 1 {
		return fmt.Errorf("-events must be at least 1000 and -rounds at least 1, not %d and %d", *events, *rounds)
	}
	b := &bench{events: *events, rounds: *rounds, progress: os.Stderr}
	defer b.close()
	res, err := b.smoke(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	res.print(os.Stdout)
	if !res.Met {
		return fmt.Errorf("a number is outside its limit")
	}
	return nil
}

// parseInt reads an argument of the program's own making.
func parseInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("bench: argument " + strconv.Quote(s))
	}
	return n
}
