// Command table prints files of torture results, a line each, and ends with 1 where one does not keep its limit.
//
//	go run ./edge-node/torture/table [-page RESULTS.md -command "make torture"] results.jsonl
//
// With -page it also writes a page of them, in Markdown.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/weir-stream/weir/edge-node/torture"
)

func main() {
	page := flag.String("page", "", "also write a page, in Markdown, to this file")
	command := flag.String("command", "make torture", "what made the results, for the page")
	flag.Parse()
	failed, err := run(flag.Args(), *page, *command, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// run prints the results in the files, and tells whether one failed.
func run(files []string, page, command string, to io.Writer) (failed bool, err error) {
	if len(files) == 0 {
		return false, fmt.Errorf("name a file of results")
	}
	var all []torture.Result
	for _, name := range files {
		results, err := read(name)
		if err != nil {
			return false, err
		}
		all = append(all, results...)
	}
	if len(all) == 0 {
		return false, fmt.Errorf("no results in %s", strings.Join(files, ", "))
	}
	for _, r := range all {
		failed = failed || !r.Holds
	}
	if page != "" {
		var b strings.Builder
		markdown(&b, all, command)
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			return failed, err
		}
	}
	return failed, table(to, all)
}

func read(name string) ([]torture.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []torture.Result
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var r torture.Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return all, nil
}

func verdict(r *torture.Result) string {
	switch {
	case !r.Holds:
		return "FAILED"
	case r.Bound == torture.Unbound:
		return ""
	}
	return "ok"
}

func limit(r *torture.Result) string {
	if r.Bound == torture.Unbound {
		return ""
	}
	return fmt.Sprintf("%s %g", r.Bound, r.Limit)
}

func table(to io.Writer, all []torture.Result) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tLIMIT\tFIGURE\t\tVERDICT\tLOAD")
	for i := range all {
		r := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%s\t%s\t%s\n", r.Name, limit(r), r.Value, r.Unit, verdict(r), r.Load)
	}
	return w.Flush()
}

// markdown writes the page. Figures of faults that struck are many, and are counted only.
func markdown(w io.Writer, all []torture.Result, command string) {
	fmt.Fprintf(w, "# What the torture harness measured\n\nWritten by `%s`, which fails where a figure does not keep its limit. Do not edit.\n\n", command)
	var machines, commits []string
	first, last := all[0].At, all[0].At
	for _, r := range all {
		if !slices.Contains(machines, r.Machine) {
			machines = append(machines, r.Machine)
		}
		if !slices.Contains(commits, r.Commit) {
			commits = append(commits, r.Commit)
		}
		if r.At.Before(first) {
			first = r.At
		}
		if r.At.After(last) {
			last = r.At
		}
	}
	fmt.Fprintf(w, "- machine: %s\n- commit: %s\n- from %s to %s\n\n", strings.Join(machines, "; "), strings.Join(commits, ", "),
		first.Format("2006-01-02 15:04"), last.Format("2006-01-02 15:04 MST"))
	fmt.Fprint(w, "Load is that of the machine over 1, 5 and 15 minutes when the figure was taken, with the test itself in it.\n\n| what | limit | figure | verdict | load |\n|---|---|---|---|---|\n")
	struck, missed := 0, 0
	for i := range all {
		r := &all[i]
		if strings.HasPrefix(r.Name, torture.Struck) && r.Holds {
			struck++
			continue
		}
		if !r.Holds {
			missed++
		}
		name := r.Name
		if r.Detail != "" {
			name += " (" + r.Detail + ")"
		}
		fmt.Fprintf(w, "| %s | %s | %.4g %s | %s | %s |\n", name, limit(r), r.Value, r.Unit, verdict(r), r.Load)
	}
	fmt.Fprintf(w, "\n%d kinds of simulated faults struck. %d figures did not keep their limit.\n", struck, missed)
}
