//go:build !unix

package libchdb

import "context"

// lockDir does nothing here: no library is pinned for systems without flock.
func lockDir(context.Context, string, *reporter) (func(), error) { return func() {}, nil }
