package simulation

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// want has a node run, or leave as one that is told to. It tells whether that is a change.
func (w *world) want(n *node, wanted bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n.wanted == wanted {
		return false
	}
	n.wanted, n.delay = wanted, 0
	if !wanted && n.now != nil {
		n.now.stop()
	}
	select {
	case n.kick <- struct{}{}:
	default:
	}
	return true
}

// brokerGone takes the broker away from all, or brings it back.
func (w *world) brokerGone(gone bool) {
	w.brokerAway.Store(gone)
	if !gone {
		return
	}
	for _, n := range w.nodes {
		w.mu.Lock()
		p := n.now
		w.mu.Unlock()
		if p != nil {
			p.hangUp()
		}
	}
}

// coordinatorFails has the group's coordinator answer some requests with errors, or do them and not say so.
func (w *world) coordinatorFails(n, kind int) {
	f := kfake.Fault{Group: "weir", Count: n}
	hit := faultCoordinator
	switch kind {
	case 0:
		f.Keys, f.Err = []kmsg.Key{kmsg.OffsetCommit}, kerr.NotCoordinator
	case 1:
		f.Keys, f.Err, hit = []kmsg.Key{kmsg.OffsetCommit}, kerr.RequestTimedOut, faultCommitLost
	case 2:
		f.Keys, f.Err = []kmsg.Key{kmsg.OffsetFetch}, kerr.CoordinatorLoadInProgress
	default:
		f.Keys, f.Err = []kmsg.Key{kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat}, kerr.CoordinatorNotAvailable
	}
	h := w.broker().Fault(f)
	w.background.Go(func() {
		<-w.quiet.Done()
		h.Remove()
		for range h.Hits() {
			w.hit(hit)
		}
	})
}
