package config

import (
	"slices"
	"strings"
)

// Nearest is the one of names that was most likely meant by a mistyped one, or "" when none is near.
func Nearest(typed string, names []string) string {
	best, bestDistance := "", 1+max(1, len(typed)/3)
	lower := strings.ToLower(typed)
	if len(typed) > 64 {
		return ""
	}
	for _, name := range names {
		d := distance(lower, strings.ToLower(name))
		if d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best == "" && len(typed) >= 3 {
		// "int" is nearest to "int64": the start of a longer name, or a name with more behind it.
		i := slices.IndexFunc(names, func(n string) bool {
			n = strings.ToLower(n)
			return strings.HasPrefix(n, lower) || len(n) >= 3 && strings.HasPrefix(lower, n)
		})
		if i >= 0 {
			best = names[i]
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours between two words (the optimal
// string alignment distance), in bytes.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, cur := rows[(i-1)%3], rows[i%3], rows[(i+1)%3]
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(last[j]+1, cur[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
	}
	return rows[(len(a)+1)%3][len(b)]
}
