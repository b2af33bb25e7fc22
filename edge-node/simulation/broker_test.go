package simulation

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// startBroker starts the broker, or starts it again on what it had.
func (w *world) startBroker() error {
	pl := w.plan
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.ListenFn(w.network.Listen), kfake.SeedTopics(pl.parts, topic),
		kfake.GroupMinSessionTimeout(time.Second),
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.heartbeat.interval.ms": fmt.Sprint(pl.session.Milliseconds() / 5),
			"group.consumer.session.timeout.ms":    fmt.Sprint(pl.session.Milliseconds()),
		}),
	}
	if pl.durable {
		if w.dir == "" {
			dir, err := os.MkdirTemp("", "weir-simulation-")
			if err != nil {
				return err
			}
			w.dir = dir
		}
		opts = append(opts, kfake.DataDir(w.dir))
	}
	if old := w.broker(); old != nil {
		_, port, err := net.SplitHostPort(w.address)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			return err
		}
		opts = append(opts, kfake.Ports(n))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return err
	}
	w.address = c.ListenAddrs()[0]
	w.cluster.Store(c)
	return nil
}

// broker is the broker as it runs now.
func (w *world) broker() *kfake.Cluster { return w.cluster.Load() }

// drawRestarts has the broker end, and start again with what it had, under another leader epoch; or with less, as after an unclean
// election. It draws by itself, so that the other plans stay as they were.
func (p *plan) drawRestarts() {
	rng := rand.New(rand.NewPCG(p.seed, 13))
	if p.quietly || p.protocol != "classic" || rng.IntN(4) > 0 {
		return
	}
	p.durable = true
	n, share := 1+rng.IntN(2), 1+rng.IntN(100)
	if p.mayCut() {
		n = 1
	} else {
		share = 0
	}
	for range n {
		p.addRestart(time.Duration(rng.Int64N(int64(p.length))), time.Duration(rng.IntN(20_000))*time.Millisecond, share)
	}
}

func (p *plan) addRestart(at, away time.Duration, share int) {
	p.add(at, fmt.Sprintf("the broker restarts, is away for %s, and has lost %d%% of what nobody deleted", away, share), func(w *world) {
		w.restartBroker(away, share)
		w.hit(faultRestart)
	})
}

// mayCut tells whether logs may be cut back in a plan: not where an insert may come late, since where it does nobody can tell by what is stored
// what a node has done; see known. Not either where segments begin early for want of memory, with the clock of the one before.
func (p *plan) mayCut() bool { return !p.kinds[faultLostAck] && !p.kinds[faultEarly] }

// restless tells whether nodes of a plan may die, or lose their partitions, at any moment. Then a log is cut back only when nobody has them
// any more: what a node stores and does not live to commit would be unknown to the next.
func (p *plan) restless() bool {
	for kind := range p.kinds {
		switch kind {
		case faultOutage, faultJoin, faultRetention, faultPartitions, faultSwap:
		default:
			return true
		}
	}
	return false
}

// forgets tells whether a broker that loses so much loses the group as well, so that accounts alone tell how far nodes have come. Not with a hot swap:
// whoever builds the newest segment again has a clock of its own, as DESIGN.md says.
func (p *plan) forgets(share int) bool { return share%3 == 1 && !p.kinds[faultSwap] }

// restartBroker ends the broker and starts it again after a while. Nobody reaches it before all is as it should be. Of the records of
// each partition so many of 100 are gone then, the newest.
func (w *world) restartBroker(away time.Duration, share int) {
	epoch := w.epoch()
	w.brokerGone(true)
	w.brokerLock <- struct{}{}
	group := w.broker().GroupInfo("weir")
	w.broker().Close()
	forgets := w.plan.forgets(share)
	if share > 0 && w.plan.restless() || forgets {
		away += w.plan.session
	}
	_ = sleep(w.life, away)
	if forgets {
		w.note("the broker has lost the group, too")
		w.hit(faultForgotten)
		group = nil
		if err := os.Remove(filepath.Join(w.dir, "groups.log")); err != nil && !errors.Is(err, os.ErrNotExist) {
			w.wrong("the schedule could not have the broker forget the group: %v", err)
		}
	}
	if err := w.forgetFetchSessions(); err != nil {
		w.wrong("the schedule could not have the broker forget its fetch sessions: %v", err)
	}
	if share > 0 {
		for _, p := range w.places() {
			if err := w.cutLog(p, share, group); err != nil {
				w.wrong("the schedule could not cut the log of %s back: %v", p, err)
			}
		}
	}
	err := w.startBroker()
	<-w.brokerLock
	if err != nil {
		w.wrong("the broker does not start: %v", err)
		return
	}
	for w.epoch() <= epoch {
		w.broker().ShufflePartitionLeaders()
	}
	if share > 0 {
		// A leader of Kafka's knows where its epoch begins before it has a record of it. kfake does not, and could not say where the
		// records of the epoch before end.
		w.produce(1, time.Second)
	}
	w.brokerGone(false)
}

// forgetFetchSessions has the broker start without the fetch sessions of its clients, as brokers of Kafka's do, which keep them in memory
// alone. kfake saves them, without the IDs of their topics, and restores them without the map of partitions whose topic it does not know: it
// panics when a client then asks for one of a topic that is deleted. In their place is one that nobody has, so that
// none of their numbers is used again.
func (w *world) forgetFetchSessions() error {
	file := filepath.Join(w.dir, "session_state.json")
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil // it had nothing to save
	}
	if err != nil {
		return err
	}
	type session struct {
		ID    int32 `json:"id"`
		Epoch int32 `json:"e"`
	}
	var state map[string]json.RawMessage
	if err := json.Unmarshal(text, &state); err != nil {
		return err
	}
	if state["fetchSessions"] == nil {
		return nil
	}
	var sessions map[string][]session
	if err := json.Unmarshal(state["fetchSessions"], &sessions); err != nil {
		return err
	}
	nobodys := session{Epoch: 1 << 30}
	for _, of := range sessions {
		for _, s := range of {
			nobodys.ID = max(nobodys.ID, s.ID+1)
		}
	}
	for node := range sessions {
		sessions[node] = []session{nobodys}
	}
	if state["fetchSessions"], err = json.Marshal(sessions); err != nil {
		return err
	}
	if text, err = json.Marshal(state); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// cutLog cuts the last of a log's segments in the broker's directory, between two batches, and begins another era. What kfake finds there
// when it starts is what it has; of the size it only wants to hear in its snapshot.
func (w *world) cutLog(p place, share int, group *kfake.GroupInfo) error {
	w.centre.mu.Lock()
	defer w.centre.mu.Unlock()
	log := w.logOf(p)
	dir := filepath.Join(w.dir, "partitions", fmt.Sprintf("%s-%d", topic, p.part))
	segments, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil || len(segments) == 0 {
		return err
	}
	last := slices.MaxFunc(segments, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	data, err := os.ReadFile(last)
	if err != nil {
		return err
	}
	most := max(log.first, log.end()-(log.end()-log.first)*int64(share)/100) // the first that is to go
	size, to := int64(0), int64(-1)
	for at := 0; at+12 <= len(data); {
		if first := int64(binary.BigEndian.Uint64(data[at:])); first >= most {
			size, to = int64(at), first
			break
		}
		at += 12 + int(binary.BigEndian.Uint32(data[at+8:]))
	}
	if to <= log.first || !w.known(p, to, group) { // none is that new, or all are
		return nil
	}
	snapshot := filepath.Join(dir, "snapshot.json")
	text, err := os.ReadFile(snapshot)
	if err != nil {
		return err
	}
	var s map[string]any
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	of := s["segments"].([]any)
	of[len(of)-1].(map[string]any)["size"] = size
	if text, err = json.Marshal(s); err != nil {
		return err
	}
	if err := errors.Join(os.Truncate(last, size), os.WriteFile(snapshot, text, 0o644)); err != nil {
		return err
	}
	w.note("the log of %s, which ended at %d, ends at %d", p, log.end(), to)
	log.cut(to)
	w.centre.anew(p, to)
	w.hit(faultCut)
	return nil
}

// known tells whether whoever comes next finds out that a log was cut back at an offset: by the group's commit, or where there is none by an
// account. DESIGN.md names where it does not: a node stored more and died before the commit, or before the account. centre.mu is held.
func (w *world) known(p place, to int64, group *kfake.GroupInfo) bool {
	committed, accounted, stored := int64(-1), int64(0), int64(0)
	for s, cov := range w.centre.coverage {
		if s.place == p {
			accounted = max(accounted, cov.Version)
		}
	}
	for id, r := range w.centre.rows {
		if id.segment.place == p {
			stored = max(stored, r.version)
		}
	}
	for id := range w.centre.letters {
		if id.segment.place == p {
			stored = max(stored, id.offset+1)
		}
	}
	if group != nil {
		if c, ok := group.Commits[topic][p.part]; ok {
			var m struct {
				Position int64 `json:"b"`
			}
			if err := json.Unmarshal([]byte(c.Metadata), &m); err != nil {
				w.wrong("the commit of %s cannot be read: %q: %v", p, c.Metadata, err)
			}
			committed = m.Position
		}
	}
	if stored = max(stored, accounted); committed >= 0 {
		return committed > to || stored <= to
	}
	return accounted > to || stored <= to
}

// epoch is the lowest leader epoch of the topic's partitions.
func (w *world) epoch() int32 {
	lowest := int32(1 << 30)
	for _, p := range w.broker().PartitionInfos(topic) {
		lowest = min(lowest, p.Epoch)
	}
	return lowest
}
