package expr

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what is wrong with an expression, and where.
type Error struct {
	Offset int    // byte offset in the source text
	Msg    string // what is wrong
	Hint   string // what would be right; may be empty
}

// Error is the message and the hint, without the position.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Hint
}

// byteOffset turns the parser's character position into a byte offset.
func byteOffset(src string, runes int) int {
	off := 0
	for ; runes > 0 && off < len(src); runes-- {
		_, n := utf8.DecodeRuneInString(src[off:])
		off += n
	}
	return off
}

// clip bounds a text that goes into a message.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

// Suggest is "did you mean X?" for the candidate nearest to a name, or the list of candidates where none is near.
func Suggest(name string, candidates []string) string {
	best, dist := "", len(name)/3+1
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return fmt.Sprintf("did you mean %s?", c)
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(c), dist); d < dist {
			best, dist = c, d
		}
	}
	if best != "" && dist < len(best) {
		return fmt.Sprintf("did you mean %s?", best)
	}
	if len(candidates) == 0 {
		return "there is none"
	}
	return "there are " + clip(strings.Join(candidates, ", "), 300)
}

// editDistance is the Damerau–Levenshtein distance (optimal string alignment) in bytes, or limit where it is larger.
func editDistance(a, b string, limit int) int {
	if len(a) > 64 || len(b) > 64 || max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	var rows [3][65]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, prev, prev2 := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
	}
	return min(rows[len(a)%3][len(b)], limit)
}
