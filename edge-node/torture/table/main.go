// Command table prints files of torture results, a line each, and ends with 1 where one does not keep its limit.
//
//	go run ./edge-node/torture/table results.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/weir-stream/weir/edge-node/torture"
)

func main() {
	failed, err := table(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// table prints the results in the files and tells whether one failed.
func table(files []string) (failed bool, err error) {
	if len(files) == 0 {
		return false, fmt.Errorf("name a file of results")
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tVALUE\tUNIT\tLIMIT\t")
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return failed, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for n := 1; lines.Scan(); n++ {
			var r torture.Result
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				return failed, fmt.Errorf("%s:%d: %w", name, n, err)
			}
			verdict := ""
			if !r.Holds {
				verdict, failed = "FAILED", true
			}
			fmt.Fprintf(w, "%s\t%g\t%s\t%s %g\t%s\n", r.Name, r.Value, r.Unit, r.Bound, r.Limit, verdict)
		}
		if err := lines.Err(); err != nil {
			return failed, fmt.Errorf("%s: %w", name, err)
		}
	}
	return failed, w.Flush()
}
