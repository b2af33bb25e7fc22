// Package failpoint names the moments at which a process can die, for tests that make it die there.
//
// The engine and the sink call Hit where something durable is about to happen or has just happened. As weir is built for
// use, Hit is an empty function and nothing of this package is in the binary. With the build tag failpoints,
// WEIR_FAILPOINTS says what happens where:
//
//	WEIR_FAILPOINTS=insert-rows=kill@2            SIGKILL to itself when the point is come to for the second time
//	WEIR_FAILPOINTS=submit=stop@1,revoke=kill@1   SIGSTOP, until somebody continues it
//
// WEIR_FAILPOINT_LOG names a file to which a line with the name is added at every point that is come to, so that a test
// knows, after a kill, what was hit and how often.
package failpoint

// Point is a moment.
type Point string

// The points, in the order of a life.
const (
	ResumeCoverage Point = "resume-coverage" // the destination was asked what it has of a partition
	ResumeLoad     Point = "resume-load"     // what was saved of a partition was loaded
	ResumeBegin    Point = "resume-begin"    // before the first commit of the segment a partition starts with
	Poll           Point = "poll"            // records were polled, none of them was processed
	SaveBefore     Point = "save-before"     // before the local store's commit
	SaveAfter      Point = "save-after"      // after it
	Submit         Point = "submit"          // a cut is made, and saved if the node saves; delivery has not got it
	Resend         Point = "resend"          // a part of what was saved is submitted, and more is to come
	InsertOpen     Point = "insert-open"     // the coverage that opens segments is stored
	InsertStates   Point = "insert-states"   // states of operators are stored, rows not
	InsertBlock    Point = "insert-block"    // between two blocks of rows
	InsertRows     Point = "insert-rows"     // rows are stored, dead letters not
	InsertLetters  Point = "insert-letters"  // dead letters are stored, coverage not
	InsertCoverage Point = "insert-coverage" // all is stored, and nobody has been told
	CommitBefore   Point = "commit-before"   // acknowledged, and not committed to Kafka
	CommitAfter    Point = "commit-after"    // committed
	SwapBefore     Point = "swap-before"     // a partition's segment has ended, and the commit of the next one was not sent
	SwapAfter      Point = "swap-after"      // the next one is committed, and not begun
	Revoke         Point = "revoke"          // partitions are to be given up
	RevokeShipped  Point = "revoke-shipped"  // what they had is stored, and not committed
	RevokeAfter    Point = "revoke-after"    // it is committed, and the partitions are not given up
)

// All lists every point.
func All() []Point {
	return []Point{
		ResumeCoverage, ResumeLoad, ResumeBegin, Poll, SaveBefore, SaveAfter, Submit, Resend, InsertOpen, InsertStates,
		InsertBlock, InsertRows, InsertLetters, InsertCoverage, CommitBefore, CommitAfter, SwapBefore, SwapAfter,
		Revoke, RevokeShipped, RevokeAfter,
	}
}

// The environment variables of a binary with failpoints.
const (
	EnvPoints = "WEIR_FAILPOINTS"
	EnvLog    = "WEIR_FAILPOINT_LOG"
)
