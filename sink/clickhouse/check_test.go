package clickhouse_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// schemaError is the one in err, which must be of class Stop.
func schemaError(t *testing.T, err error) *sink.SchemaError {
	t.Helper()
	var e *sink.Error
	var s *sink.SchemaError
	if !errors.As(err, &e) || e.Class != sink.Stop || !errors.As(err, &s) {
		t.Fatalf("want an error about the schema, got %v", err)
	}
	return s
}

func TestCheckOfAnEmptyServer(t *testing.T) {
	b := &bed{t: t, cfg: clickhouse.Config{URL: embeddedtest.ClickHouse(t), Table: "temps"}, tab: temperature()}
	b.conn = open(t, b.cfg.URL)
	db := b.ask("SELECT currentDatabase()")[0]
	b.exec("DROP DATABASE `" + db + "`")
	b.conn = open(t, strings.Replace(b.cfg.URL, db, "default", 1))
	b.sink = b.open(b.cfg)

	s := schemaError(t, b.sink.Check(b.ctx()))
	want := []string{
		"database " + db + " is missing, or may not be seen by this user",
		"table temps_partials is missing",
		"table weir_coverage is missing",
		"table weir_dead_letters is missing",
		"table weir_revisions is missing",
		"table weir_dead_letter_marks is missing",
		"table weir_usage is missing",
		"view temps is missing",
		"view weir_completeness is missing",
		"view weir_usage_hourly is missing",
	}
	if strings.Join(s.Problems, "\n") != strings.Join(want, "\n") {
		t.Errorf("problems %q", s.Problems)
	}
	all, err := clickhouse.DDL(b.cfg, b.tab)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(s.DDL, ";") != strings.Join(all, ";") {
		t.Errorf("the statements are not those of DDL: %q", s.DDL)
	}

	// Writing says the same as checking, and running just what it says is enough.
	cut := b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
	s = schemaError(t, b.sink.Write(b.ctx(), []*sink.Cut{cut}))
	for _, stmt := range s.DDL {
		b.exec(stmt)
	}
	b.write(cut)
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Error(err)
	}
	// Applying again changes nothing.
	b.apply()
	b.apply()
}

func TestCheckFindsDifferences(t *testing.T) {
	for _, c := range []struct {
		name, sql     string
		problem       string // part of the only problem; empty: none
		ddl           string // part of the only statement; empty: none
		mended        bool   // by Apply
		refusesWrites bool
	}{
		{
			name: "column dropped", sql: "ALTER TABLE temps_partials DROP COLUMN temp_max",
			problem: "table temps_partials has no column temp_max Nullable(Float64)",
			ddl:     "ADD COLUMN IF NOT EXISTS `temp_max` Nullable(Float64)", mended: true, refusesWrites: true,
		},
		{
			name: "column of another type", sql: "ALTER TABLE temps_partials MODIFY COLUMN temp_max Nullable(Float32)",
			problem:       "table temps_partials: column temp_max is Nullable(Float32) and should be Nullable(Float64); if its values can be converted, run ALTER TABLE ",
			refusesWrites: true,
		},
		{
			name: "coverage dropped", sql: "DROP TABLE weir_coverage SYNC",
			problem: "table weir_coverage is missing", ddl: "`weir_coverage`", mended: true, refusesWrites: true,
		},
		{
			name: "view dropped", sql: "DROP VIEW temps SYNC",
			problem: "view temps is missing", ddl: "CREATE VIEW IF NOT EXISTS", mended: true,
		},
		{
			name: "view of an older pipeline", sql: "CREATE OR REPLACE VIEW temps AS SELECT window_start, window_end, device, readings, CAST(NULL, 'Nullable(Float64)') AS temp_max FROM temps_partials",
			problem: "view temps: column temp_avg is missing and should be Nullable(Float64)", ddl: "CREATE OR REPLACE VIEW", mended: true,
		},
		{
			name: "table in the place of the view", sql: "DROP VIEW temps SYNC; CREATE TABLE temps (x Int8) ENGINE = Memory",
			problem: "temps is a table (Memory), and should be a view: give the pipeline another table name",
		},
		{
			name: "engine that keeps everything", sql: "DROP TABLE temps_partials SYNC; CREATE TABLE temps_partials (x Int8) ENGINE = MergeTree ORDER BY x",
			problem:       "table temps_partials has the engine MergeTree and not ReplacingMergeTree: rows sent twice would count twice; this cannot be changed in place; keep the old data with RENAME TABLE",
			refusesWrites: true,
		},
		{
			name: "tuned", sql: `ALTER TABLE temps_partials ADD COLUMN note String; ALTER TABLE temps_partials MODIFY SETTING old_parts_lifetime = 60;
				ALTER TABLE temps_partials MODIFY COLUMN _node LowCardinality(String); ALTER TABLE temps_partials MODIFY COLUMN readings UInt64 CODEC(ZSTD)`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			for _, sql := range strings.Split(c.sql, ";") {
				b.exec(sql)
			}
			cut := b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)})
			if c.problem == "" {
				if err := b.sink.Check(b.ctx()); err != nil {
					t.Error(err)
				}
				b.write(cut)
				b.want("1700000000 a 1 1 1")
				return
			}
			s := schemaError(t, b.sink.Check(b.ctx()))
			if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], c.problem) {
				t.Errorf("problems %q, want %q", s.Problems, c.problem)
			}
			if (c.ddl == "") != (len(s.DDL) == 0) || !strings.Contains(strings.Join(s.DDL, ";"), c.ddl) {
				t.Errorf("statements %q, want %q", s.DDL, c.ddl)
			}
			if err := b.sink.Write(b.ctx(), []*sink.Cut{cut}); c.refusesWrites {
				schemaError(t, err)
			} else if err != nil {
				t.Errorf("write: %v", err)
			}
			if err := b.sink.Apply(b.ctx(), nil); (err == nil) != c.mended {
				t.Errorf("apply: %v", err)
			}
			if c.mended {
				b.write(cut)
				b.want("1700000000 a 1 1 1")
			}
			if strings.Contains(c.name, "in the place of the view") {
				if got := b.ask("SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = 'temps'"); len(got) != 1 || got[0] != "Memory" {
					t.Errorf("somebody's own table is now %q", got)
				}
			}
		})
	}
}

// Sorting and partition keys decide what replaces what.
func TestCheckOfKeys(t *testing.T) {
	for _, c := range []struct{ name, from, to, problem string }{
		{"identity is missing", "`_topic_id`, ", "", "_topic_id is not in its sorting key"},
		{"version is in it", "`_width`)\nSETTINGS", "`_width`, `_version`)\nSETTINGS", "_version is in its sorting key and not part of a row's identity"},
		{"partitioned by arrival", "PARTITION BY toYYYYMMDD(window_start)", "PARTITION BY toYYYYMMDD(_received_at)", "is partitioned by _received_at, which is not part of a row's identity"},
		{"no version", "ReplacingMergeTree(`_version`)", "ReplacingMergeTree", "does not replace rows by the highest _version"},
		{"another order", "`_site`, `_pipeline`, `_rev`", "`_rev`, `_pipeline`, `_site`", ""},
		{"months", "toYYYYMMDD(window_start)", "toYYYYMM(window_start)", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBed(t)
			stmts, err := clickhouse.DDL(b.cfg, b.tab)
			if err != nil {
				t.Fatal(err)
			}
			var create string
			for _, s := range stmts {
				if strings.Contains(s, "CREATE TABLE") && strings.Contains(s, "temps_partials") {
					create = strings.Replace(s, c.from, c.to, 1)
				}
			}
			b.exec("DROP TABLE temps_partials SYNC")
			b.exec(create)
			err = b.sink.Check(b.ctx())
			if c.problem == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if s := schemaError(t, err); len(s.Problems) != 1 || !strings.Contains(s.Problems[0], c.problem) {
				t.Errorf("problems %q, want %q", s.Problems, c.problem)
			}
		})
	}
}

// A table of accounts that is from before the precedence is good enough where no account has open rows.
func TestCheckOfAccountsOfBefore(t *testing.T) {
	b := newBed(t)
	create := b.ask("SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'weir_coverage'")[0]
	b.exec("DROP TABLE weir_coverage SYNC")
	b.exec(strings.Replace(create, "ReplacingMergeTree(precedence)", "ReplacingMergeTree(version)", 1))
	b.write(b.cut(source{}, 10, row{1_700_000_000, "a", 1, f(1), 1, f(1)}))
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Error(err)
	}
	b.tab.Final = true
	err := b.open(b.cfg).Check(b.ctx())
	var told string
	for _, p := range schemaError(t, err).Problems {
		if strings.HasPrefix(p, "table weir_coverage does not replace rows by the highest precedence") {
			told = p
		}
	}
	// What it says to do is enough, and keeps the accounts.
	steps := regexp.MustCompile(`run (RENAME TABLE .*), apply the schema, and run (INSERT INTO .*)$`).FindStringSubmatch(told)
	if steps == nil {
		t.Fatalf("told %q of %v", told, err)
	}
	b.exec(steps[1])
	b.sink = b.open(b.cfg)
	b.apply()
	b.exec(steps[2])
	if err := b.sink.Check(b.ctx()); err != nil {
		t.Error(err)
	}
	if got := b.ask("SELECT toString(version) FROM weir_coverage FINAL"); len(got) != 1 || got[0] != "10" {
		t.Errorf("accounts are %q, told %q", got, told)
	}
}

func TestSchemaErrorText(t *testing.T) {
	b := newBed(t)
	b.exec("ALTER TABLE temps_partials DROP COLUMN temp_max")
	err := b.sink.Check(b.ctx())
	db := b.ask("SELECT currentDatabase()")[0]
	want := `the tables do not fit the pipeline:
  table temps_partials has no column temp_max Nullable(Float64)
run 'weir schema apply', set 'schema: apply', or run:

ALTER TABLE ` + "`" + db + "`.`temps_partials` ADD COLUMN IF NOT EXISTS `temp_max` Nullable(Float64);\n"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
