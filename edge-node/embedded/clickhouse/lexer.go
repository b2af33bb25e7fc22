package clickhouse

import "strings"

// token is one lexical element of a statement: enough of ClickHouse's lexer (src/Parsers/Lexer.cpp) to find clauses
// without being fooled by quotes and comments.
type token struct {
	kind     tokenKind
	from, to int // of the statement's bytes
}

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // identifier, keyword or number
	tokenQuoted           // "x" or `x`
	tokenString           // 'x' or $tag$x$tag$
	tokenOther            // one byte of anything else
	tokenBad              // an unclosed quote or comment
)

// next returns the token at or after pos, skipping space and comments.
func nextToken(s string, pos int) token {
	for pos < len(s) {
		c := s[pos]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			pos++
		case strings.HasPrefix(s[pos:], "--"), strings.HasPrefix(s[pos:], "#!"), strings.HasPrefix(s[pos:], "# "):
			end := strings.IndexByte(s[pos:], '\n')
			if end < 0 {
				return token{tokenEnd, len(s), len(s)}
			}
			pos += end + 1
		case strings.HasPrefix(s[pos:], "/*"):
			end := strings.Index(s[pos+2:], "*/")
			if end < 0 {
				return token{tokenBad, pos, len(s)}
			}
			pos += 2 + end + 2
		default:
			return lexeme(s, pos)
		}
	}
	return token{tokenEnd, len(s), len(s)}
}

func lexeme(s string, pos int) token {
	c := s[pos]
	switch {
	case c == '\'' || c == '"' || c == '`':
		end := quotedEnd(s, pos)
		if end < 0 {
			return token{tokenBad, pos, len(s)}
		}
		if c == '\'' {
			return token{tokenString, pos, end + 1}
		}
		return token{tokenQuoted, pos, end + 1}
	case isWord(c):
		end := pos + 1
		for end < len(s) && isWord(s[end]) {
			end++
		}
		return token{tokenWord, pos, end}
	case c == '$':
		tag := pos + 1
		for tag < len(s) && isWord(s[tag]) {
			tag++
		}
		if tag < len(s) && s[tag] == '$' {
			mark := s[pos : tag+1]
			if end := strings.Index(s[tag+1:], mark); end >= 0 {
				return token{tokenString, pos, tag + 1 + end + len(mark)}
			}
		}
	}
	return token{tokenOther, pos, pos + 1}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// scanner walks the tokens of a statement.
type scanner struct {
	s   string
	tok token
}

func newScanner(s string) *scanner {
	c := &scanner{s: s}
	c.advance()
	return c
}

func (c *scanner) advance() {
	from := c.tok.to
	c.tok = nextToken(c.s, from)
}

func (c *scanner) text() string { return c.s[c.tok.from:c.tok.to] }

// word reports whether the current token is this keyword.
func (c *scanner) word(keyword string) bool {
	return c.tok.kind == tokenWord && strings.EqualFold(c.text(), keyword)
}

// accept moves past the keyword when it is next.
func (c *scanner) accept(keyword string) bool {
	if !c.word(keyword) {
		return false
	}
	c.advance()
	return true
}

// is reports whether the current token is this punctuation mark.
func (c *scanner) is(mark byte) bool {
	return c.tok.kind == tokenOther && c.s[c.tok.from] == mark
}

// parenthesised moves past ( ... ) and reports whether it was closed.
func (c *scanner) parenthesised() bool {
	depth := 0
	for c.tok.kind != tokenEnd && c.tok.kind != tokenBad {
		switch {
		case c.is('('):
			depth++
		case c.is(')'):
			depth--
		}
		c.advance()
		if depth == 0 {
			return true
		}
	}
	return false
}
