package clickhouse

import "strings"

// The engine runs as clickhouse-local does: for it, any file of this user is a table, and SYSTEM SHUTDOWN signals the
// whole process group. A server must not offer that to whoever can reach its port, so such statements are refused. It
// is a fence and no sandbox: README.md says what it does not keep out.

// localFiles are the functions, engines and sources that reach files or programs of this machine, in lower case.
var localFiles = map[string]bool{
	"file": true, "filecluster": true, "filesystem": true, "filelog": true, "sqlite": true, "executable": true, "executablepool": true,
	"library": true, "iceberglocal": true, "deltalakelocal": true, "paimonlocal": true, "python": true, "disk": true,
}

// forbidden returns why a statement is not run, or nil.
func forbidden(sql string) error {
	c := newScanner(sql)
	if c.word("SYSTEM") {
		c.advance()
		if c.word("SHUTDOWN") || c.word("KILL") {
			return exceptionf(codeUnsupportedMethod, "SYSTEM SHUTDOWN is not for clients of the embedded server; stop its process instead")
		}
	}
	for c.tok.kind != tokenEnd && c.tok.kind != tokenBad {
		name := ""
		switch c.tok.kind {
		case tokenWord:
			name = c.text()
		case tokenQuoted:
			name = unquote(c.text())
		}
		into := c.word("INTO") || c.word("FROM")
		c.advance()
		if into && (c.word("OUTFILE") || c.word("INFILE")) {
			next := nextToken(sql, c.tok.to)
			if next.kind == tokenString {
				return exceptionf(codeUnsupportedMethod, "%s is a matter of the client: the server reads and writes no files for a statement", strings.ToUpper(c.text()))
			}
		}
		if localFiles[strings.ToLower(name)] && c.is('(') {
			return exceptionf(codeUnsupportedMethod, "%s(...) reaches files or programs of the machine, which the embedded server does not give to clients", clip(name, 40))
		}
	}
	return nil
}
