package simulation

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// obituary notes that a process died, under the name its client has.
func (w *world) obituary(client string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.died[client] = time.Now()
}

// janitor removes members of the group whose process has been dead for longer than its session. That is the broker's
// business, and Kafka does it; kfake forgets a member of a classic group that dies while it waits for the others to join.
func (w *world) janitor() {
	var b barrier
	defer b.lift()
	for sleep(w.life, w.plan.session/2) == nil {
		w.brokerLock <- struct{}{}
		info := w.broker().GroupInfo("weir")
		<-w.brokerLock
		if info == nil || w.plan.protocol != "classic" {
			continue
		}
		b.watch(w, info)
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group = "weir"
		w.mu.Lock()
		for _, m := range info.Members {
			if at, ok := w.died[m.ClientID]; ok && time.Since(at) > w.plan.session+2*time.Second {
				member := kmsg.NewLeaveGroupRequestMember()
				member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
				req.Members = append(req.Members, member)
			}
		}
		w.mu.Unlock()
		if len(req.Members) > 0 {
			if _, err := req.RequestWith(w.life, w.admin); err != nil && w.life.Err() == nil {
				w.wrong("remove a dead member: %v", err)
			}
		}
	}
}

// barrier ends rebalances that kfake would never end.
//
// Kafka ends one when the rebalance timeout is over that ran when it began, whoever joins meanwhile: members that did not join are
// removed. kfake begins its timeout anew with every request to join, and by a member that it removes while that waits in SyncGroup it
// counts one too few of those that join (removeMember decrements nJoining, which is of JoinGroup), so that from then on nothing else
// ends a rebalance. Members whose request times out join again, and put the end off for ever. So once a rebalance is older than Kafka would let it
// become, joins are refused until kfake's own timeout has ended it.
type barrier struct {
	epoch int32
	since time.Time // zero: no rebalance is under way
	fault *kfake.FaultHandle
}

// rebalanceTimeout is more than what the client asks for.
const rebalanceTimeout = 2 * time.Minute

func (b *barrier) watch(w *world, info *kfake.GroupInfo) {
	switch {
	case info.State != "PreparingRebalance":
		b.lift()
		b.since = time.Time{}
	case b.since.IsZero() || b.epoch != info.Epoch:
		b.lift()
		b.epoch, b.since = info.Epoch, time.Now()
	case b.fault == nil && time.Since(b.since) > rebalanceTimeout:
		w.note("the broker does not end a rebalance: joins are refused until it has")
		b.fault = w.broker().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: "weir", Err: kerr.CoordinatorLoadInProgress, Count: -1})
	}
}

func (b *barrier) lift() {
	if b.fault != nil {
		b.fault.Remove()
		b.fault = nil
	}
}

func clientName(n *node, life int) string { return fmt.Sprintf("%s.%d", n.name, life) }
