package clickhouse

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/weir-stream/weir/sink"
)

// Check finds out whether the server can be reached and every table is there with the columns, types, engine and
// sorting key that weir relies on. What people may tune (order of the sorting key, codecs, settings, more columns,
// replicated engines) is left to them. A *sink.SchemaError says what is wrong and what to run.
func (s *Sink) Check(ctx context.Context) error {
	if err := s.trySamples(ctx); err != nil {
		return err
	}
	schema, _, err := s.compare(ctx)
	if err != nil {
		return err
	}
	if schema != nil {
		return &sink.Error{Class: sink.Stop, Err: schema}
	}
	return nil
}

// Apply makes what is missing: databases, tables, columns that are not part of a row's identity, and views, which it
// also brings up to date. It changes no column that is there. What it cannot mend without losing data, it reports as
// Check does.
//
// fit is called when everything is there that Check looks for, before views are brought up to date that were there: what is stored does
// not depend on them. It may be nil.
func (s *Sink) Apply(ctx context.Context, fit func()) error {
	if err := s.trySamples(ctx); err != nil {
		return err
	}
	schema, server, err := s.compare(ctx)
	if err != nil {
		return err
	}
	if schema != nil {
		for _, stmt := range schema.DDL {
			if err := s.exec(ctx, "apply the schema: "+firstLine(stmt), stmt); err != nil {
				return err
			}
		}
		left, _, err := s.compare(ctx)
		if err != nil {
			return err
		}
		if left != nil {
			return &sink.Error{Class: sink.Stop, Err: left}
		}
	}
	if fit != nil {
		fit()
	}
	for i := range s.layout.views {
		v := &s.layout.views[i]
		if have := server[v.name]; have == nil || have.engine != "View" {
			continue // made above, or a table that is somebody's own
		}
		if err := s.exec(ctx, "apply the schema: view "+v.name, v.replace(s.cfg.Database)); err != nil {
			return err
		}
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// found is a table or view of the server.
type found struct {
	engine, engineFull, partitionKey, sortingKey string
	columns                                      map[string]string // type by name
}

// compare looks at the server's tables, and what is wrong with them: nil where all is well.
func (s *Sink) compare(ctx context.Context) (*sink.SchemaError, map[string]*found, error) {
	db := s.cfg.Database
	op := "look at the tables of " + ident(db)
	server, err := s.find(ctx, op)
	if err != nil {
		return nil, nil, err
	}
	schema := &sink.SchemaError{}
	if len(server) == 0 && db != "default" {
		exists := false
		sql := "SELECT name FROM system.databases WHERE name = " + quote(db)
		if err := s.query(ctx, op, sql, func(driver.Rows) error { exists = true; return nil }); err != nil {
			return nil, nil, err
		}
		if !exists {
			schema.Problems = append(schema.Problems, fmt.Sprintf("database %s is missing, or may not be seen by this user", db))
			schema.DDL = append(schema.DDL, "CREATE DATABASE IF NOT EXISTS "+ident(db))
		}
	}
	for i := range s.layout.tables {
		compareTable(schema, db, &s.layout.tables[i], server[s.layout.tables[i].name])
	}
	for i := range s.layout.views {
		compareView(schema, db, &s.layout.views[i], server[s.layout.views[i].name])
	}
	if len(schema.Problems) == 0 {
		return nil, server, nil
	}
	return schema, server, nil
}

func (s *Sink) find(ctx context.Context, op string) (map[string]*found, error) {
	var names []string
	for _, t := range s.layout.tables {
		names = append(names, quote(t.name))
	}
	for _, v := range s.layout.views {
		names = append(names, quote(v.name))
	}
	in := strings.Join(names, ", ")
	server := map[string]*found{}
	columns := map[string]map[string]string{} // types by table and name
	// One statement for both: a start waits for every way to the server and back.
	sql := fmt.Sprintf(`SELECT name AS tbl, engine, engine_full, partition_key, sorting_key, '' AS col, '' AS typ
FROM system.tables WHERE database = %[1]s AND name IN (%[2]s)
UNION ALL
SELECT table AS tbl, '' AS engine, '' AS engine_full, '' AS partition_key, '' AS sorting_key, name AS col, type AS typ
FROM system.columns WHERE database = %[1]s AND table IN (%[2]s)`, quote(s.cfg.Database), in)
	err := s.query(ctx, op, sql, func(rows driver.Rows) error {
		f, table, column, typ := &found{}, "", "", ""
		if err := rows.Scan(&table, &f.engine, &f.engineFull, &f.partitionKey, &f.sortingKey, &column, &typ); err != nil {
			return err
		}
		if columns[table] == nil {
			columns[table] = map[string]string{}
		}
		if column == "" {
			server[table] = f
		} else {
			columns[table][column] = typ
		}
		return nil
	})
	for table, f := range server {
		f.columns = columns[table]
	}
	return server, err
}

func compareTable(schema *sink.SchemaError, db string, want *tableDef, have *found) {
	problem := func(format string, args ...any) {
		schema.Problems = append(schema.Problems, "table "+want.name+fmt.Sprintf(format, args...))
	}
	if have == nil {
		problem(" is missing")
		schema.DDL = append(schema.DDL, want.create(db))
		return
	}
	aside := fmt.Sprintf("this cannot be changed in place; keep the old data with RENAME TABLE %s TO %s, then apply the schema, or give the pipeline another table name",
		qualified(db, want.name), qualified(db, want.name+"_old"))

	// A Distributed table has neither key nor version; those it spreads over have, and are not seen from here.
	distributed := have.engine == "Distributed"
	if !distributed {
		switch {
		case !strings.HasSuffix(have.engine, "ReplacingMergeTree"):
			problem(" has the engine %s and not ReplacingMergeTree: rows sent twice would count twice; %s", have.engine, aside)
			return
		case want.before != "" && hasWord(engineArguments(have.engineFull), want.before):
		case want.version != "" && !hasWord(engineArguments(have.engineFull), want.version):
			problem(" does not replace rows by the highest %s: its engine is %s; %s", want.version, firstWords(have.engineFull), want.anew(db, aside))
			return
		}
	}
	for _, c := range want.columns {
		typ, there := have.columns[c.name]
		switch {
		case !there && want.identity(c.name):
			problem(" has no column %s, which is part of a row's identity; %s", c.name, aside)
		case !there:
			problem(" has no column %s %s", c.name, c.typ)
			schema.DDL = append(schema.DDL, want.addColumn(db, c))
		case !sameType(typ, c.typ) && want.identity(c.name):
			problem(": column %s is %s and should be %s; %s", c.name, typ, c.typ, aside)
		case !sameType(typ, c.typ):
			problem(": column %s is %s and should be %s; if its values can be converted, run ALTER TABLE %s MODIFY COLUMN %s",
				c.name, typ, c.typ, qualified(db, want.name), c)
		}
	}
	if distributed {
		return
	}
	key := words(have.sortingKey)
	for _, o := range want.order {
		if !key[o] {
			problem(": %s is not in its sorting key (%s), so rows that differ in it would replace each other; %s", o, have.sortingKey, aside)
			return
		}
	}
	for k := range key {
		if _, column := have.columns[k]; column && !want.identity(k) {
			problem(": %s is in its sorting key and not part of a row's identity, so versions of a row would not replace each other; %s", k, aside)
			return
		}
	}
	for k := range words(have.partitionKey) {
		if _, column := have.columns[k]; column && !want.identity(k) {
			problem(" is partitioned by %s, which is not part of a row's identity, so versions of a row would not replace each other; %s", k, aside)
			return
		}
	}
}

func compareView(schema *sink.SchemaError, db string, want *viewDef, have *found) {
	switch {
	case have == nil:
		schema.Problems = append(schema.Problems, "view "+want.name+" is missing")
		schema.DDL = append(schema.DDL, want.create(db))
	case have.engine != "View":
		schema.Problems = append(schema.Problems, fmt.Sprintf("%s is a table (%s), and should be a view: give the pipeline another table name", want.name, have.engine))
	default:
		ok := true
		for _, c := range want.columns {
			if typ, there := have.columns[c.name]; !there || !sameType(typ, c.typ) {
				ok = false
				if !there {
					typ = "missing"
				}
				schema.Problems = append(schema.Problems, fmt.Sprintf("view %s: column %s is %s and should be %s", want.name, c.name, typ, c.typ))
			}
		}
		if !ok {
			schema.DDL = append(schema.DDL, want.replace(db))
		}
	}
}

// sameType compares types whatever their spacing, and takes a string whose dictionary someone has added.
func sameType(have, want string) bool {
	have, want = strings.ReplaceAll(have, " ", ""), strings.ReplaceAll(want, " ", "")
	if inner, ok := strings.CutPrefix(have, "LowCardinality("); ok {
		have = strings.TrimSuffix(inner, ")")
	}
	return have == want
}

var word = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)

// words is the set of names in an expression, functions included.
func words(expr string) map[string]bool {
	set := map[string]bool{}
	for _, w := range word.FindAllString(expr, -1) {
		set[w] = true
	}
	return set
}

func hasWord(expr, w string) bool { return words(expr)[w] }

// engineArguments is what stands in the parentheses of an engine: the rest of engine_full names columns too.
func engineArguments(full string) string {
	open := strings.IndexByte(full, '(')
	end := strings.IndexByte(full, ')')
	if open < 0 || end < open || strings.Contains(full[:open], " ") {
		return ""
	}
	return full[open+1 : end]
}

func firstWords(full string) string {
	for _, stop := range []string{" PARTITION BY", " ORDER BY", " PRIMARY KEY"} {
		if i := strings.Index(full, stop); i >= 0 {
			full = full[:i]
		}
	}
	return full
}
