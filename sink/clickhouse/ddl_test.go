package clickhouse_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

var update = flag.Bool("update", false, "rewrite testdata")

// everyType has a key and an extreme of every type, nullable and not.
func everyType() sink.Table {
	t := temperature()
	t.Pipeline = "every type's"
	t.Keys, t.Aggregates = nil, t.Aggregates[:1]
	for _, n := range append(batch.TypeNames(), "decimal(9, 2)", "decimal(18, 4)", "decimal(38, 10)") {
		typ, _, err := batch.ParseType(n)
		if err != nil {
			panic(err)
		}
		n = strings.NewReplacer("[", "_", "]", "", "(", "_", ", ", "_", ")", "").Replace(n)
		t.Keys = append(
			t.Keys,
			batch.Field{Name: "k_" + n, Type: typ},
			batch.Field{Name: "n_" + n, Type: typ, Nullable: true},
		)
		if typ.Kind == batch.Bool || typ.Kind == batch.Binary {
			continue
		}
		t.Aggregates = append(t.Aggregates, sink.Aggregate{
			Name: "max_" + n, Type: typ, States: []sink.State{
				{Field: batch.Field{Name: "max_" + n, Type: typ, Nullable: true}, Merge: sink.MergeMax},
			},
		})
	}
	return t
}

// narrowSum has answers of other types than their merged states.
func narrowSum() sink.Table {
	t := temperature()
	t.Keys = nil
	t.Aggregates = []sink.Aggregate{
		{Name: "s", Type: kind(batch.Int32), States: []sink.State{{Field: batch.Field{Name: "s", Type: kind(batch.Int16), Nullable: true}}}},
		{Name: "least", Type: kind(batch.Int16), States: []sink.State{{Field: batch.Field{Name: "least", Type: kind(batch.Int16)}, Merge: sink.MergeMin}}},
		{Name: "mean", Type: kind(batch.Float32), Finish: sink.FinishRatio, States: []sink.State{
			{Field: batch.Field{Name: "mean__sum", Type: kind(batch.Int64)}},
			{Field: batch.Field{Name: "mean__count", Type: kind(batch.Uint64)}},
		}},
	}
	return t
}

func TestDDL(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   clickhouse.Config
		table sink.Table
	}{
		{"temperature", clickhouse.Config{URL: "clickhouse://central:9000/weir", Table: "temps"}, temperature()},
		{"every_type", clickhouse.Config{
			URL: "http://central:8123", Table: "t", Database: "my-db", TTL: 90 * 24 * time.Hour, DeadLetterTTL: 36 * time.Hour,
		}, everyType()},
		{"stateful", clickhouse.Config{URL: "clickhouse://central:9000", Table: "temps"}, func() sink.Table {
			t := temperature()
			t.Stateful = true
			return t
		}()},
		{"rollups", clickhouse.Config{URL: "clickhouse://central:9000", Table: "temps", TTL: 400 * 24 * time.Hour}, func() sink.Table {
			t := temperature()
			t.Rollups, t.Final = rollups(), true
			return t
		}()},
		{"narrow_sum", clickhouse.Config{URL: "clickhouse://central:9000", Table: "n"}, narrowSum()},
	} {
		t.Run(c.name, func(t *testing.T) {
			stmts, err := clickhouse.DDL(c.cfg, c.table)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(stmts, ";\n\n") + ";\n"
			file := filepath.Join("testdata", "ddl_"+c.name+".sql")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs; run go test -update and look at the difference. Now:\n%s", file, got)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	good := clickhouse.Config{URL: "clickhouse://u:s3cret@h:9000/db", Table: "t"}
	table := func(change func(*sink.Table)) sink.Table {
		t := temperature()
		t.Keys = append([]batch.Field(nil), t.Keys...)
		t.Aggregates = append([]sink.Aggregate(nil), t.Aggregates...)
		change(&t)
		return t
	}
	for _, c := range []struct {
		name, want string
		cfg        func(*clickhouse.Config)
		table      sink.Table
	}{
		{"no url", "no ClickHouse URL: give clickhouse://user:password@host:9000/database", func(c *clickhouse.Config) { c.URL = "" }, temperature()},
		{"other scheme", `the ClickHouse URL starts with "mysql": use clickhouse://, http:// or https://`, func(c *clickhouse.Config) { c.URL = "mysql://u:s3cret@h/db" }, temperature()},
		{"bad port", "parse the ClickHouse URL: it is malformed; percent-encode the user name and the password", func(c *clickhouse.Config) { c.URL = "clickhouse://u:s3cret/x@h:9000" }, temperature()},
		{"bad escape", "parse the ClickHouse URL: it is malformed; percent-encode the user name and the password", func(c *clickhouse.Config) { c.URL = "clickhouse://u:s3cret%zz@h:9000" }, temperature()},
		{"bad option", `parse the ClickHouse URL: clickhouse [dsn parse]: dial timeout: time: invalid duration "x"`, func(c *clickhouse.Config) { c.URL = "clickhouse://u:s3cret@h?dial_timeout=x" }, temperature()},
		{"no host", "parse the ClickHouse URL: parse dsn address failed", func(c *clickhouse.Config) { c.URL = "s3cret" }, temperature()},
		{"no table", `table "": use a letter, then letters, digits and _`, func(c *clickhouse.Config) { c.Table = "" }, temperature()},
		{"bad table", "table \"a`b\": use a letter, then letters, digits and _", func(c *clickhouse.Config) { c.Table = "a`b" }, temperature()},
		{"bad database", `database "a.b": use letters, digits, _ and -`, func(c *clickhouse.Config) { c.Database = "a.b" }, temperature()},
		{"negative", "insert timeout -1s: it may not be negative", func(c *clickhouse.Config) { c.InsertTimeout = -time.Second }, temperature()},
		{"too many rows", "max insert rows 500001: it must be 1 to 500000", func(c *clickhouse.Config) { c.MaxInsertRows = 500_001 }, temperature()},
		{"no site", "the table has no site name", nil, table(func(t *sink.Table) { t.Site = "" })},
		{"no aggregate", "pipeline line-temperature has no aggregate to store", nil, table(func(t *sink.Table) { t.Aggregates = nil })},
		{"key with a dot", `key "payload.temp" cannot be a column in ClickHouse: use a letter, then letters, digits and _`, nil, table(func(t *sink.Table) { t.Keys[0].Name = "payload.temp" })},
		{"key with our prefix", `key "_site" cannot be a column in ClickHouse: use a letter, then letters, digits and _`, nil, table(func(t *sink.Table) { t.Keys[0].Name = "_site" })},
		{"key with our name", `key "window_end" has the name of weir's own column: rename one`, nil, table(func(t *sink.Table) { t.Keys[0].Name = "window_end" })},
		{"same name twice", `aggregate "device" has the name of key device: rename one`, nil, table(func(t *sink.Table) { t.Aggregates[0].Name = "device" })},
		{"sum of text", `state "readings" of aggregate "readings": string cannot be summed`, nil, table(func(t *sink.Table) {
			t.Aggregates[0].States = []sink.State{{Field: batch.Field{Name: "readings", Type: kind(batch.String)}}}
		})},
		{"half a ratio", `aggregate "temp_avg" has 1 states, and its answer needs 2`, nil, table(func(t *sink.Table) { t.Aggregates[1].States = t.Aggregates[1].States[:1] })},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			if c.cfg != nil {
				c.cfg(&cfg)
			}
			_, err := clickhouse.New(cfg, c.table, nil)
			if err == nil {
				t.Fatal("it was taken")
			}
			if err.Error() != c.want {
				t.Errorf("error\n%s\nwant\n%s", err, c.want)
			}
		})
	}
}
