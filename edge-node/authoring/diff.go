package authoring

import "strings"

// maxDiff bounds the lines that are compared one with another: the table has the square of it.
const maxDiff = 1500

// diff shows two texts, given by line, as one: lines of both begin with a space, those of the first alone with "-", of the
// second alone with "+". Long stretches of equal lines are left out. It is empty when the texts are equal.
func diff(want, got []string) string {
	start := 0
	for start < len(want) && start < len(got) && want[start] == got[start] {
		start++
	}
	end := 0
	for end < len(want)-start && end < len(got)-start && want[len(want)-1-end] == got[len(got)-1-end] {
		end++
	}
	if start+end == len(want) && start+end == len(got) {
		return ""
	}
	var edits []string
	for _, line := range want[:start] {
		edits = append(edits, " "+line)
	}
	edits = append(edits, changes(want[start:len(want)-end], got[start:len(got)-end])...)
	for _, line := range want[len(want)-end:] {
		edits = append(edits, " "+line)
	}
	return shown(edits)
}

// changes finds the longest common subsequence; texts that are too long for that are shown one after the other.
func changes(a, b []string) []string {
	var out []string
	if len(a) > maxDiff || len(b) > maxDiff {
		for _, line := range a {
			out = append(out, "-"+line)
		}
		for _, line := range b {
			out = append(out, "+"+line)
		}
		return out
	}
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	width := len(b) + 1
	common := make([]int16, (len(a)+1)*width)
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i*width+j] = common[(i+1)*width+j+1] + 1
			} else {
				common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, " "+a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[(i+1)*width+j] >= common[i*width+j+1]:
			out = append(out, "-"+a[i])
			i++
		default:
			out = append(out, "+"+b[j])
			j++
		}
	}
	return out
}

// around is how many equal lines are shown beside a change, and maxShown how many lines in all.
const (
	around   = 3
	maxShown = 200
)

func shown(edits []string) string {
	near := make([]bool, len(edits))
	for i, line := range edits {
		if line[0] != ' ' || strings.HasPrefix(line, " -- ") {
			for k := max(0, i-around); k <= min(len(edits)-1, i+around) && line[0] != ' '; k++ {
				near[k] = true
			}
			near[i] = true
		}
	}
	var b strings.Builder
	n := 0
	for i, line := range edits {
		switch {
		case n == maxShown:
			b.WriteString(" ... and more\n")
			return b.String()
		case near[i]:
			b.WriteString(line + "\n")
			n++
		case i == 0 || near[i-1]:
			b.WriteString(" ...\n")
		}
	}
	return b.String()
}
