package batch

// FloorDiv divides, rounded towards minus infinity, so that a time before 1970 falls into the second, day or window that it is in.
// The divisor is positive.
func FloorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
