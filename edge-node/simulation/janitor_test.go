package simulation

import (
	"fmt"
	"time"

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
	for sleep(w.life, w.plan.session/2) == nil {
		info := w.cluster.GroupInfo("weir")
		if info == nil || w.plan.protocol != "classic" {
			continue
		}
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

func clientName(n *node, life int) string { return fmt.Sprintf("%s.%d", n.name, life) }
