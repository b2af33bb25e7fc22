package clickhouse

import "strings"

// statementKind says how a statement has to be run.
type statementKind uint8

const (
	kindEmpty    statementKind = iota
	kindSelect                 // its rows can be streamed
	kindInsert                 // its rows follow, in the statement or after it
	kindSet                    // changes the session's settings
	kindUse                    // changes the session's database
	kindTemp                   // creates something only this session sees
	kindRead                   // SHOW, DESCRIBE, EXPLAIN and the like: changes nothing, has an answer
	kindOther                  // DDL, INSERT ... SELECT and the rest
	kindMultiple               // several statements: refused
)

// statement is a statement's text taken apart as far as the protocols need it.
type statement struct {
	kind   statementKind
	text   string // without closing semicolon and without FORMAT clause
	format string // of the FORMAT clause: the output's for a query, the input's for an insert

	// For kindInsert:
	target  string // what follows INSERT INTO: a table name or a table function with its arguments
	columns string // the column list without parentheses, or ""
	head    string // the statement up to FORMAT or VALUES: what libchdb's insert takes
	data    int    // where inline rows begin in the original text
	inline  bool   // there are inline rows
}

func parseStatement(sql string) statement {
	c := newScanner(sql)
	for c.is(';') {
		c.advance()
	}
	if c.tok.kind == tokenEnd {
		return statement{kind: kindEmpty}
	}
	if c.word("INSERT") {
		if st, ok := parseInsert(sql, c); ok {
			return st
		}
		return finish(sql, kindOther)
	}
	return finish(sql, classify(sql, c))
}

func classify(sql string, c *scanner) statementKind {
	for c.is('(') {
		c.advance()
	}
	first := strings.ToUpper(c.text())
	c.advance()
	switch first {
	case "SELECT", "WITH", "FROM":
		return kindSelect
	case "SET":
		return kindSet
	case "USE":
		return kindUse
	case "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK":
		return kindRead
	case "CREATE", "REPLACE", "DROP", "DETACH":
		for range 4 {
			if c.word("TEMPORARY") || c.word("TEMP") {
				return kindTemp
			}
			c.advance()
		}
	}
	return kindOther
}

// finish cuts the FORMAT clause and the semicolon off.
func finish(sql string, kind statementKind) statement {
	st := statement{kind: kind, text: sql}
	c := newScanner(sql)
	depth := 0
	end := len(sql)
	before := token{}
	formatFrom, formatTo := -1, -1
scan:
	for ; c.tok.kind != tokenEnd && c.tok.kind != tokenBad; c.advance() {
		switch {
		case c.is('('), c.is('['), c.is('{'):
			depth++
		case c.is(')'), c.is(']'), c.is('}'):
			depth--
		case c.is(';') && depth == 0:
			if nextToken(sql, c.tok.to).kind != tokenEnd && !onlySemicolons(sql[c.tok.to:]) {
				st.kind = kindMultiple
				return st
			}
			end = c.tok.from
			break scan
		case depth == 0 && c.word("FORMAT") && endsExpression(sql, before):
			name := nextToken(sql, c.tok.to)
			if name.kind != tokenWord {
				break
			}
			after := newScannerAt(sql, name.to)
			if after.tok.kind == tokenEnd || after.is(';') || after.word("SETTINGS") {
				formatFrom, formatTo = c.tok.from, name.to
				st.format = sql[name.from:name.to]
			}
		}
		before = c.tok
	}
	st.text = sql[:end]
	if formatFrom >= 0 {
		st.text = sql[:formatFrom] + sql[formatTo:end]
	}
	return st
}

func newScannerAt(sql string, pos int) *scanner {
	c := &scanner{s: sql, tok: token{to: pos}}
	c.advance()
	return c
}

func onlySemicolons(s string) bool {
	c := newScanner(s)
	for c.is(';') {
		c.advance()
	}
	return c.tok.kind == tokenEnd
}

// endsExpression tells a FORMAT clause from a column called format: a clause can only follow a whole expression.
func endsExpression(sql string, t token) bool {
	switch t.kind {
	case tokenQuoted, tokenString:
		return true
	case tokenOther:
		c := sql[t.from]
		return c == ')' || c == ']' || c == '}' || c == '*'
	case tokenWord:
		switch strings.ToUpper(sql[t.from:t.to]) {
		case "SELECT", "DISTINCT", "BY", "WHERE", "PREWHERE", "HAVING", "AND", "OR", "NOT", "AS", "ON", "USING", "IN", "LIKE",
			"ILIKE", "BETWEEN", "IS", "FROM", "LIMIT", "OFFSET", "SETTINGS", "THEN", "WHEN", "ELSE", "CASE", "DIV", "MOD", "WITH":
			return false
		}
		return true
	}
	return false
}

// parseInsert takes INSERT [INTO] [TABLE] [FUNCTION] target [(columns)] [SETTINGS ...] {VALUES | FORMAT f} apart. It
// reports false for INSERT ... SELECT and everything else the engine has to run itself.
func parseInsert(sql string, c *scanner) (statement, bool) {
	st := statement{kind: kindInsert}
	c.advance()
	c.accept("INTO")
	c.accept("TABLE")
	from := c.tok.from
	if c.word("FUNCTION") {
		c.advance()
		c.advance()
		if !c.is('(') {
			return st, false
		}
		from = nextToken(sql, from+len("FUNCTION")).from
		if !c.parenthesised() {
			return st, false
		}
	} else {
		if c.tok.kind != tokenWord && c.tok.kind != tokenQuoted {
			return st, false
		}
		c.advance()
		if c.is('.') {
			c.advance()
			c.advance()
		}
	}
	st.target = strings.TrimSpace(sql[from:c.tok.from])
	if c.is('(') {
		open := c.tok.to
		inner := newScannerAt(sql, open)
		if inner.word("SELECT") || inner.word("WITH") {
			return st, false
		}
		if !c.parenthesised() {
			return st, false
		}
		st.columns = strings.TrimSpace(sql[open:strings.LastIndexByte(sql[:c.tok.from], ')')])
	}
	for {
		switch {
		case c.tok.kind == tokenEnd || c.is(';'):
			st.head, st.data = strings.TrimSpace(sql[:c.tok.from]), len(sql)
			st.text = st.head
			return st, true
		case c.word("VALUES"):
			st.head, st.format, st.data = strings.TrimSpace(sql[:c.tok.from]), "Values", c.tok.to
			st.text = st.head
			st.inline = hasRows(sql[st.data:])
			return st, true
		case c.word("FORMAT"):
			st.head = strings.TrimSpace(sql[:c.tok.from])
			st.text = st.head
			c.advance()
			if c.tok.kind != tokenWord {
				return st, false
			}
			st.format, st.data = c.text(), afterFormat(sql, c.tok.to)
			st.inline = hasRows(sql[st.data:])
			return st, true
		case c.word("SELECT"), c.word("WITH"), c.word("FROM"), c.word("WATCH"), c.tok.kind == tokenBad:
			return st, false
		case c.is('('):
			if !c.parenthesised() {
				return st, false
			}
		default:
			c.advance()
		}
	}
}

// afterFormat skips what may stand between a format's name and its rows: spaces up to one line end.
func afterFormat(sql string, pos int) int {
	for pos < len(sql) && (sql[pos] == ' ' || sql[pos] == '\t' || sql[pos] == '\f') {
		pos++
	}
	if pos < len(sql) && sql[pos] == '\r' {
		pos++
	}
	if pos < len(sql) && sql[pos] == '\n' {
		pos++
	}
	return pos
}

func hasRows(s string) bool { return strings.Trim(s, " \t\r\n\f;") != "" }

// identifiers splits a column list into plain column names, or reports that it is more than that.
func identifiers(list string) ([]string, bool) {
	var out []string
	c := newScanner(list)
	for {
		name, ok := c.identifier()
		if !ok {
			return nil, false
		}
		out = append(out, name)
		switch {
		case c.tok.kind == tokenEnd:
			return out, true
		case !c.is(','):
			return nil, false
		}
		c.advance()
	}
}

// identifier reads a possibly dotted name (a.b is a column of a Nested).
func (c *scanner) identifier() (string, bool) {
	var b strings.Builder
	for {
		switch c.tok.kind {
		case tokenWord:
			b.WriteString(c.text())
		case tokenQuoted:
			b.WriteString(unquote(c.text()))
		default:
			return "", false
		}
		c.advance()
		if !c.is('.') {
			return b.String(), true
		}
		b.WriteByte('.')
		c.advance()
	}
}

// unquote removes the quotes of `x` or "x".
func unquote(s string) string {
	q := s[0]
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if (s[i] == '\\' || s[i] == q) && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
