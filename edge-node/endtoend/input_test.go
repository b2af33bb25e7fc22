package endtoend

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// firstRecord is the timestamp of a case's first record; each one after it is a second later.
var firstRecord = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// record is a record of a case. topic is without the prefix of the run.
type record struct {
	topic     string
	partition int32
	at        time.Time
	key       []byte
	value     []byte
	headers   []kgo.RecordHeader
}

// parseInput reads input.jsonl: a record per line. A line that begins with "@" holds settings of the record after it, or
// is a record itself where it says what the value is:
//
//	@ key=pump-7 partition=1 topic=b time=2024-01-01T00:00:00Z header.site=north    nokey
//	@ raw="\x00\xff"     a value that is no line of text
//	@ empty              an empty value
//	@ null               no value
//	@ size=2000000       a value of this size: the next line, with spaces behind it
//	@ repeat=100         the next line so many times; %d in it counts from 0
//	@ arrow=2,3          an Arrow stream: a batch of the next two lines and one of the three behind them
//
// Values are Go strings where they begin with a quote.
func parseInput(data []byte, arrow *arrowWriter) ([]record, error) {
	var out []record
	var size, repeat int
	next := record{}
	add := func(value []byte) {
		for i := range max(1, repeat) {
			r := next
			if r.topic == "" {
				r.topic = "in"
			}
			if r.at.IsZero() {
				r.at = firstRecord.Add(time.Duration(len(out)) * time.Second)
			}
			r.value = value
			if repeat > 0 {
				r.value = bytes.ReplaceAll(value, []byte("%d"), strconv.AppendInt(nil, int64(i), 10))
			}
			if pad := size - len(r.value); pad > 0 {
				r.value = append(bytes.Clone(r.value), bytes.Repeat([]byte(" "), pad)...)
			}
			out = append(out, r)
		}
		next, size, repeat = record{}, 0, 0
	}
	for n, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		settings, is := strings.CutPrefix(line, "@")
		switch {
		case !is && arrow.wants():
			value, err := arrow.add(line)
			if err != nil {
				return nil, fmt.Errorf("input.jsonl line %d: %w", n+1, err)
			}
			if value != nil {
				add(value)
			}
			continue
		case !is && line != "":
			add([]byte(line))
			continue
		case !is:
			continue
		}
		for settings = strings.TrimSpace(settings); settings != ""; settings = strings.TrimSpace(settings) {
			var name, value string
			var err error
			if name, value, settings, err = setting(settings); err == nil {
				switch name {
				case "key":
					next.key = []byte(value)
				case "partition":
					var p int64
					p, err = strconv.ParseInt(value, 10, 32)
					next.partition = int32(p)
				case "topic":
					next.topic = value
				case "time":
					next.at, err = time.Parse(time.RFC3339Nano, value)
				case "size":
					size, err = strconv.Atoi(value)
				case "repeat":
					repeat, err = strconv.Atoi(value)
				case "arrow":
					var empty []byte
					if empty, err = arrow.begin(value); empty != nil {
						add(empty)
					}
				case "raw":
					add([]byte(value))
				case "empty":
					add([]byte{})
				case "null":
					add(nil)
				default:
					head, ok := strings.CutPrefix(name, "header.")
					if !ok {
						err = fmt.Errorf("unknown setting %q", name)
					}
					next.headers = append(next.headers, kgo.RecordHeader{Key: head, Value: []byte(value)})
				}
			}
			if err != nil {
				return nil, fmt.Errorf("input.jsonl line %d: %w", n+1, err)
			}
		}
	}
	return out, nil
}

// setting cuts the first name=value off a line.
func setting(s string) (name, value, rest string, err error) {
	end := strings.IndexAny(s, " =")
	if end < 0 || s[end] == ' ' {
		name, rest, _ = strings.Cut(s, " ")
		return name, "", rest, nil
	}
	name, s = s[:end], s[end+1:]
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, " ")
		return name, value, rest, nil
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err != nil {
		return "", "", "", fmt.Errorf("%s: a quote is not closed: %w", name, err)
	}
	value, err = strconv.Unquote(quoted)
	return name, value, s[len(quoted):], err
}
