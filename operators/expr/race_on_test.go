//go:build race

package expr

// raceEnabled: the race detector makes sync.Pool, which regexp keeps its memory in, forget at random.
const raceEnabled = true
