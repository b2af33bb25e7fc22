package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// defaultSession is the session timeout of the client, and of brokers for members of a KIP-848 group.
const defaultSession = 45 * time.Second

// processStart is a moment to count from.
var processStart = time.Now()

// lease knows how long ago the group must have counted this member among its own. A group gives partitions away when it has
// not heard of their owner for a session timeout; until then, whatever a member does with them it does alone.
//
// Answers to heartbeats extend the lease while it is held. That an answer came does not say what it was: one that
// refuses the member is followed by the loss of its partitions at once, so it can do no harm to a lease that is held. One
// that has run out is renewed only by an answer that was read (see Source.Renew).
//
// An answer proves nothing later than the sending of its question, and that is not before the answer before it: heartbeats
// are sent one after the other. So a process that is stopped between question and answer does not take the answer for fresh.
type lease struct {
	clock func() time.Duration
	ttl   time.Duration
	rest  time.Duration // of a session, when a lease has run out

	modern atomic.Bool // heartbeats are those of KIP-848

	mu     sync.Mutex
	held   bool          // guarded by mu: false until the group has said so, and again when the lease has run out
	proven time.Duration // guarded by mu: the group counted on this member then, or later
	heard  time.Duration // guarded by mu: the last answer
}

// init starts a lease that is not held. A third of the session is left for what is on its way when a lease runs out.
func (l *lease) init(session time.Duration, clock func() time.Duration) {
	if session == 0 {
		session = defaultSession
	}
	if clock == nil {
		clock = bootTime
	}
	l.clock, l.ttl, l.rest = clock, session*2/3, session-session*2/3
}

// check tells whether the lease is held. mu is held.
func (l *lease) check(now time.Duration) bool {
	if l.held && now-l.proven > l.ttl {
		l.held = false
	}
	return l.held
}

// ask tells whether the lease is held.
func (l *lease) ask() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.check(l.clock())
}

// end ends the lease: partitions were lost.
func (l *lease) end() {
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
}

// renew begins the lease anew, at the time at which a question was sent that the group answered with yes.
func (l *lease) renew(sent time.Duration) {
	l.mu.Lock()
	l.held, l.proven, l.heard = true, sent, sent
	l.mu.Unlock()
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (l *lease) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	switch key {
	case int16(kmsg.ConsumerGroupHeartbeat):
		l.modern.Store(true)
	case int16(kmsg.Heartbeat):
		l.modern.Store(false)
	default:
		return
	}
	if e2e.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.clock(); l.check(now) {
		l.proven, l.heard = l.heard, now
	}
}

// Held implements sink.Lease: the lease has not run out, and the member is still the one that was given the partitions.
func (s *Source) Held() bool {
	select {
	case <-s.ready:
	default:
		return false
	}
	if !s.lease.ask() {
		return false
	}
	member, _ := s.client.GroupMetadata()
	return s.isMember(member)
}

// LeaseRest is how much of a session is left when the lease runs out, for what is on its way then.
func (s *Source) LeaseRest() time.Duration { return s.lease.rest }

// Renew implements sink.Lease: it asks the group.
func (s *Source) Renew(ctx context.Context) error {
	if s.Held() {
		return nil
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	sent := s.lease.clock()
	member, generation := s.client.GroupMetadata()
	if member == "" || generation < 0 {
		return errors.New("this node is not in the group")
	}
	if !s.isMember(member) {
		return errors.New("the group took this node for dead and in again: its partitions are another's, or are given to it anew")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ask := s.askClassic
	if s.lease.modern.Load() {
		ask = s.askModern
	}
	if err := ask(ctx, member, generation); err != nil {
		return fmt.Errorf("ask the group %s whether this node is a member: %w", s.cfg.Group, err)
	}
	s.lease.renew(sent)
	return nil
}

// askClassic is a heartbeat beside those of the client. During a rebalance the group still counts on its members.
func (s *Source) askClassic(ctx context.Context, member string, generation int32) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = s.cfg.Group, member, generation
	if s.cfg.InstanceID != "" {
		req.InstanceID = &s.cfg.InstanceID
	}
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil && !errors.Is(err, kerr.RebalanceInProgress) {
		return err
	}
	return nil
}

// askModern reads no offsets as a member: the group checks that it is one. A heartbeat of its own could take an assignment
// out of the answer that the client waits for.
func (s *Source) askModern(ctx context.Context, member string, epoch int32) error {
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group, group.MemberID, group.MemberEpoch = s.cfg.Group, &member, epoch
	group.Topics = []kmsg.OffsetFetchRequestGroupTopic{} // none; nil would be all
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return err
	}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return err
		}
	}
	return nil
}

// isMember tells whether the partitions that are held were assigned to a member of this ID.
func (s *Source) isMember(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.member == id
}
