package sink

import (
	"context"
	"errors"
)

// Lease is the right to store the cuts of this node's partitions. It runs out when the group has not been heard of for so
// long that it may have given the partitions away: after a process was stopped, or a host was suspended. Nobody who has a
// newer revision of the pipeline may be written beside, so a cut is stored while the lease is held, or not at all.
type Lease interface {
	// Held tells, at once, whether nobody else can have the partitions. It is asked before every statement.
	Held() bool
	// Renew returns when the lease is held, or an error when the group does not answer, or no longer counts this node
	// among its members; then those who own the cuts are told that the partitions are lost.
	Renew(ctx context.Context) error
}

// ErrLease is wrapped in errors about a write that ended because the lease had run out.
var ErrLease = errors.New("the group has not confirmed that the partitions are still this node's")
