package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/weir-stream/weir/bench/contender"
	"github.com/weir-stream/weir/bench/workload"
)

// check compares an answer with the truth, and says how it differs, or nothing.
func (b *bench) check(ctx context.Context, c workload.Case, s *stream, a contender.Answer) (string, error) {
	var got []workload.Row
	var err error
	switch {
	case a.Table != "":
		got, err = b.ask(ctx, c, s.columns, a.Table)
	case a.File != "":
		got, err = readAnswer(a.File)
	default:
		return "", errors.New("a contender that is not a ceiling must say where its answer is")
	}
	if err != nil {
		return "", err
	}
	if d := workload.Diff(s.columns, s.rows, got, 3); !d.Exact() {
		return d.String(), nil
	}
	return "", nil
}

// ask reads an answer from ClickHouse.
func (b *bench) ask(ctx context.Context, c workload.Case, columns workload.Columns, table string) ([]workload.Row, error) {
	view := b.database() + ".`" + table + "`"
	sql := strings.ReplaceAll(c.Answer, "%s", view)
	if sql == "" {
		sql = "SELECT toUnixTimestamp64Milli(toDateTime64(window_start, 3))"
		for _, k := range columns.Keys {
			sql += ", toString(" + k + ")"
		}
		for _, v := range columns.Values {
			sql += ", toFloat64(" + v.Name + ")"
		}
		sql += " FROM " + view
	}
	rows, err := b.conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("ask for the answer: %w", err)
	}
	defer func() { _ = rows.Close() }()
	return workload.ReadRows(rows, columns)
}

// readAnswer reads an answer from a file of JSON lines, of which the last about a window and key counts.
func readAnswer(file string) ([]workload.Row, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	defer func() { _ = f.Close() }()
	last := map[string]int{}
	var rows []workload.Row
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan(); line++ {
		var r struct {
			Start  *int64
			Keys   []string
			Values []float64
		}
		if err := json.Unmarshal(s.Bytes(), &r); err != nil || r.Start == nil {
			return nil, fmt.Errorf("read the answer: %s:%d is not {\"start\": …, \"keys\": […], \"values\": […]}", file, line)
		}
		id := fmt.Sprintf("%d\x00%s", *r.Start, strings.Join(r.Keys, "\x00"))
		row := workload.Row{Start: *r.Start, Keys: r.Keys, Values: r.Values}
		if i, known := last[id]; known {
			rows[i] = row
			continue
		}
		last[id] = len(rows)
		rows = append(rows, row)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return rows, nil
}

// summary is the line weir logs when a pipeline has stopped.
type summary struct {
	Msg         string `json:"msg"`
	Records     int64  `json:"records"`
	Aggregated  int64  `json:"aggregated"`
	Late        int64  `json:"late"`
	Filtered    int64  `json:"filtered"`
	Rejected    int64  `json:"rejected"`
	BytesCopied int64  `json:"bytes_copied"`
}

// account finds what weir says it did, and how that differs from the truth, if it does.
func account(stderr string, want workload.Counts) (summary, string, error) {
	for line := range strings.Lines(stderr) {
		var s summary
		if json.Unmarshal([]byte(line), &s) != nil || s.Msg != "stopped" {
			continue
		}
		if s.Records != want.Records || s.Aggregated != want.Aggregated || s.Late != want.Late || s.Filtered != want.Filtered || s.Rejected != want.AllRejected() {
			return s, fmt.Sprintf("weir counted %+v, the truth %+v", s, want), nil
		}
		return s, "", nil
	}
	return summary{}, "", fmt.Errorf("weir did not say what it did:\n%s", tail(stderr))
}
