// Package kafka reads partitions of Kafka-compatible brokers as a member of a consumer group, and commits offsets.
//
// It owns the franz-go client; the engine drives it through ingest.Source and is told what happens through
// ingest.Handler. It promises: records of a partition arrive in offset order, without a hole that is not reported as a
// gap; nothing is ever skipped to a default offset (franz-go's own default would); a partition is never handed to the
// engine by this member after it was revoked.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
)

// RegexPrefix marks a topic of the configuration as a regular expression.
const RegexPrefix = "re:"

// Config says what to read and as whom.
type Config struct {
	Brokers  []string
	Topics   []string // names, or "re:" and an expression in RE2 syntax that the whole name matches
	Group    string
	ClientID string
	// InstanceID makes the member static (KIP-345): a restart within the session timeout moves no partition.
	InstanceID string
	// Protocol is the group protocol: "classic" (cooperative-sticky), "consumer" (KIP-848), or "auto", which takes
	// KIP-848 where the broker has its stable version and classic elsewhere. A static member is classic in "auto": a
	// classic group lets it in at once after a crash, one of KIP-848 when the session of its former life has timed out.
	Protocol string
	// Start is where a partition without a commit begins: "earliest", "latest", or a time.
	Start     string
	StartTime time.Time

	SASL *SASL
	TLS  *tls.Config

	SessionTimeout time.Duration // 0: 45 s
	MaxPoll        int           // records per poll; 0: 16384
	// FetchMaxBytes is how many bytes a broker sends at once, as they are in the log; 0: 2 MiB. What is read ahead takes some ten times that:
	// decompressed, with what the client has of each record.
	FetchMaxBytes int32
	// MaxWait is how long a broker holds a fetch for which it has nothing. Partitions that are resumed meanwhile wait for its answer.
	// 0: 500 ms.
	MaxWait   time.Duration
	MaxRecord int // largest record to accept, which bounds a partition's fetch; 0: 1 MiB
	// AllowCompacted reads topics whose cleanup.policy has compact, too.
	AllowCompacted bool

	// Clock is what the lease counts by, in tests that do not run in real time; it also runs while the process is stopped. Nil:
	// the system's time since it was started.
	Clock func() time.Duration
	// Dial opens a connection to a broker where it is not a plain TCP one, as in tests without a network; TLS is ignored then.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// heartbeat is how often a member of a classic group asks whether partitions are to move, which bounds how long one that is
// given up stands still. With KIP-848 the broker says how often.
const heartbeat = 500 * time.Millisecond

// SASL is how to log in to the brokers.
type SASL struct {
	Mechanism string // plain, scram-sha-256 or scram-sha-512
	User      string
	Password  string
}

// Source implements ingest.Source. It runs once.
type Source struct {
	cfg      Config
	log      *slog.Logger
	patterns []*regexp.Regexp // one per topic

	// Set once by Run and read after ready is closed: the client calls back before NewClient has returned it.
	client  *kgo.Client
	adm     *kadm.Client
	handler ingest.Handler
	ready   chan struct{}

	lease   lease
	unowned unowned // of watch's goroutine alone

	mu        sync.Mutex
	metadata  map[tp]commitMeta  // guarded by mu: committed offsets as fetched, until the assignment is handed on
	owned     map[tp]*position   // guarded by mu: partitions handed to the handler
	member    string             // guarded by mu: the group's name for the member that was given them
	again     map[string]bool    // guarded by mu: topics to be assigned anew
	granted   map[tp]bool        // guarded by mu: what the group says is this member's
	interrupt context.CancelFunc // guarded by mu: ends the poll under way
	blind     bool               // guarded by mu: it was told that settings of topics may not be read
}

type tp struct {
	topic string
	id    int32
}

type commitMeta struct {
	offset   int64
	epoch    int32 // not lower than the leader epoch of any record that was handled by then; -1 if it is not known
	metadata string
}

// position is what the source knows of a partition it reads.
type position struct {
	partition batch.Partition
	next      int64 // offset after the last record handed over; written by the polling goroutine, with Source.mu held
	epoch     int32 // leader epoch of that record; guarded by Source.mu
	failed    bool  // of the polling goroutine alone
}

// New checks the configuration. It opens no connection.
func New(cfg Config, log *slog.Logger) (*Source, error) {
	s := &Source{cfg: cfg, log: log, ready: make(chan struct{}), metadata: map[tp]commitMeta{}, owned: map[tp]*position{}, again: map[string]bool{}, granted: map[tp]bool{}}
	s.lease.init(cfg.SessionTimeout, cfg.Clock)
	if len(cfg.Brokers) == 0 {
		return nil, errors.New("no brokers: name at least one as host:port")
	}
	if len(cfg.Topics) == 0 {
		return nil, errors.New("no topics: name at least one")
	}
	if cfg.Group == "" {
		return nil, errors.New("no consumer group")
	}
	for _, t := range cfg.Topics {
		expr := regexp.QuoteMeta(t)
		if e, ok := strings.CutPrefix(t, RegexPrefix); ok {
			expr = e
		}
		re, err := regexp.Compile("^(?:" + expr + ")$")
		if err != nil {
			return nil, fmt.Errorf("topic %q is not a regular expression: %w", t, err)
		}
		s.patterns = append(s.patterns, re)
	}
	if _, err := s.options(); err != nil {
		return nil, err
	}
	return s, nil
}

// usesRegex tells whether any topic is an expression.
func (s *Source) usesRegex() bool {
	for _, t := range s.cfg.Topics {
		if strings.HasPrefix(t, RegexPrefix) {
			return true
		}
	}
	return false
}

func (s *Source) options() ([]kgo.Opt, error) {
	c := s.cfg
	connection, err := s.connection()
	if err != nil {
		return nil, err
	}
	opts := append(connection,
		kgo.ConsumerGroup(c.Group),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.DisableAutoCommit(),
		// They say how far the log was read where it ends in what is no record.
		kgo.KeepControlRecords(),
		// A poll and a rebalance exclude each other, so that no record reaches the engine after its partition left.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnOffsetsFetched(s.offsetsFetched),
		kgo.AdjustFetchOffsetsFn(s.adjust),
		kgo.OnPartitionsAssigned(s.assigned),
		kgo.OnPartitionsRevoked(s.revoked),
		kgo.OnPartitionsLost(s.lost),
		kgo.WithHooks(&s.lease),
		kgo.WithPools(&slabs{}),
		// What brokers may ask a client for tells less than our own metrics, and to compress it 8 MiB are kept.
		kgo.DisableClientMetrics(),
	)
	if s.usesRegex() {
		exprs := make([]string, len(s.patterns))
		for i, re := range s.patterns {
			exprs[i] = re.String()
		}
		opts = append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics(exprs...))
	} else {
		opts = append(opts, kgo.ConsumeTopics(c.Topics...))
	}
	switch c.Protocol {
	case "", "auto":
		if c.InstanceID == "" {
			opts = append(opts, kgo.ServerSideBalancer())
		}
	case "consumer":
		opts = append(opts, kgo.ServerSideBalancer())
	case "classic":
	default:
		return nil, fmt.Errorf("unknown group protocol %q; use auto, classic or consumer", c.Protocol)
	}
	if c.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.InstanceID))
	}
	session := orDefault(c.SessionTimeout, 45*time.Second)
	opts = append(opts, kgo.SessionTimeout(session), kgo.HeartbeatInterval(min(session/10, heartbeat)))
	return opts, nil
}

// connection is how to reach the brokers of a configuration, for clients that are no source.
func connection(cfg Config, log *slog.Logger) ([]kgo.Opt, error) {
	s, err := New(cfg, log)
	if err != nil {
		return nil, err
	}
	return s.connection()
}

// connection is what every client of the configuration has: where the brokers are, who we are, and how records are fetched.
func (s *Source) connection() ([]kgo.Opt, error) {
	c := s.cfg
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(orDefault(c.ClientID, "weir")),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Never skip by default: an offset that is not in the log any more is reported and becomes a gap.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxBytes(max(orDefault(c.FetchMaxBytes, 2<<20), int32(c.MaxRecord))),
		kgo.FetchMaxWait(orDefault(c.MaxWait, 500*time.Millisecond)),
		kgo.FetchMaxPartitionBytes(max(1<<20, int32(c.MaxRecord))),
		kgo.MaxConcurrentFetches(2),
		kgo.MetadataMinAge(time.Second),
		kgo.MetadataMaxAge(time.Minute),
		kgo.WithLogger(newClientLog(s.log)),
	}
	switch {
	case c.Dial != nil:
		opts = append(opts, kgo.Dialer(c.Dial))
	case c.TLS != nil:
		opts = append(opts, kgo.DialTLSConfig(c.TLS))
	}
	if c.SASL != nil {
		switch c.SASL.Mechanism {
		case "plain":
			opts = append(opts, kgo.SASL(plain.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsMechanism()))
		case "scram-sha-256":
			opts = append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha256Mechanism()))
		case "scram-sha-512":
			opts = append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha512Mechanism()))
		default:
			return nil, fmt.Errorf("unknown SASL mechanism %q; use plain, scram-sha-256 or scram-sha-512", c.SASL.Mechanism)
		}
	}
	return opts, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Run implements ingest.Source.
func (s *Source) Run(ctx context.Context, h ingest.Handler) error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("set up the Kafka client: %w", err)
	}
	s.client, s.adm, s.handler = client, kadm.NewClient(client), h
	close(s.ready)
	// Closing leaves the group, which revokes every partition through the handler first.
	defer client.CloseAllowingRebalance()
	watchCtx, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(watchCtx)
	}()
	defer func() {
		stop()
		<-watched
	}()
	for {
		poll, interrupt := context.WithCancel(ctx)
		s.mu.Lock()
		s.interrupt = interrupt
		s.mu.Unlock()
		fetches := client.PollRecords(poll, orDefault(s.cfg.MaxPoll, 16384))
		interrupt()
		if ctx.Err() != nil {
			// What this last poll returned was not handed on; it is read again from the commit.
			client.AllowRebalance()
			return nil
		}
		s.dispatch(ctx, fetches)
		s.startOver()
		client.AllowRebalance()
	}
}

// dispatch hands the records and errors of a poll to the handler.
func (s *Source) dispatch(ctx context.Context, fetches kgo.Fetches) {
	for i := range fetches {
		for j := range fetches[i].Topics {
			t := &fetches[i].Topics[j]
			t.EachPartition(func(f kgo.FetchPartition) { s.fetched(ctx, t, &f) })
		}
	}
}

// fetched hands on what came of one partition.
func (s *Source) fetched(ctx context.Context, t *kgo.FetchTopic, f *kgo.FetchPartition) {
	s.mu.Lock()
	pos := s.owned[tp{t.Topic, f.Partition}]
	s.mu.Unlock()
	if pos != nil && len(f.Records) > 0 {
		if none := [16]byte{}; t.TopicID != none && pos.partition.TopicID != none && t.TopicID != pos.partition.TopicID {
			// A broker that lagged behind said of the topic before that it was this one.
			s.fetchError(ctx, pos, t.Topic, f.Partition, kerr.UnknownTopicID)
			return
		}
		s.records(pos, f.Records, f.LastStableOffset)
	}
	if f.Err != nil {
		s.fetchError(ctx, pos, t.Topic, f.Partition, f.Err)
	}
}

func (s *Source) records(pos *position, in []*kgo.Record, logEnd int64) {
	out := make([]batch.Record, 0, len(in))
	next := pos.next
	for _, r := range in {
		if r.Offset < next {
			continue // a batch holds records from before the offset asked for
		}
		if r.Attrs.IsControl() {
			next = r.Offset + 1
			continue
		}
		out = append(out, recordOf(r))
		next = r.Offset + 1
	}
	epoch := int32(-1)
	for _, r := range in {
		epoch = r.LeaderEpoch
		r.Recycle()
	}
	if next == pos.next {
		return
	}
	s.mu.Lock()
	pos.next, pos.epoch = next, epoch
	s.mu.Unlock()
	if pos.failed {
		pos.failed = false
		s.handler.Failed(pos.partition, nil)
	}
	read := int64(-1)
	if n := len(out); n > 0 {
		read = out[n-1].Offset + 1
		s.handler.Records(pos.partition, out, max(logEnd, next))
	}
	if next > read {
		s.handler.Skipped(pos.partition, next, max(logEnd, next))
	}
}

// recordOf is a record as the engine knows it. It shares the bytes of key, value and headers with the client's, and nothing else.
func recordOf(r *kgo.Record) batch.Record {
	rec := batch.Record{Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	if len(r.Headers) > 0 {
		rec.Headers = make([]batch.Header, len(r.Headers))
		for i, h := range r.Headers {
			rec.Headers[i] = batch.Header{Key: h.Key, Value: h.Value}
		}
	}
	return rec
}

// moveTo sets where a partition goes on.
func (s *Source) moveTo(pos *position, next int64) {
	s.mu.Lock()
	pos.next = next
	s.mu.Unlock()
}

// Pause implements ingest.Source.
func (s *Source) Pause(p batch.Partition) {
	s.client.PauseFetchPartitions(map[string][]int32{p.Topic: {p.ID}})
}

// Resume implements ingest.Source.
func (s *Source) Resume(p batch.Partition) {
	s.client.ResumeFetchPartitions(map[string][]int32{p.Topic: {p.ID}})
}

// LeaderEpoch implements ingest.Source.
func (s *Source) LeaderEpoch(p batch.Partition) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pos := s.owned[tp{p.Topic, p.ID}]; pos != nil && pos.partition.TopicID == p.TopicID {
		return pos.epoch
	}
	return -1
}

// epochBehind is a leader epoch for a commit whose handler knows none; -1 where the source does not either.
func (s *Source) epochBehind(key tp, offset int64) int32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pos := s.owned[key]; pos != nil {
		return pos.epoch
	}
	if m, ok := s.metadata[key]; ok && m.offset == offset {
		return m.epoch // a segment begins where the commit is, and the source is not told so far
	}
	return -1
}

// Commit implements ingest.Source.
func (s *Source) Commit(ctx context.Context, commits []ingest.Commit) error {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	metadata := map[tp]string{}
	for _, c := range commits {
		if offsets[c.Partition.Topic] == nil {
			offsets[c.Partition.Topic] = map[int32]kgo.EpochOffset{}
		}
		key := tp{c.Partition.Topic, c.Partition.ID}
		epoch := c.Epoch - 1 // what was handed over last may be of a log that was cut back behind what is done
		if epoch < 0 {
			epoch = s.epochBehind(key, c.Offset)
		}
		offsets[key.topic][key.id] = kgo.EpochOffset{Epoch: epoch, Offset: c.Offset}
		metadata[key] = c.Metadata
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		if !s.isMember(req.MemberID) {
			return errors.New("the group took this node for dead and in again: the partitions were not given to this member")
		}
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				m := metadata[tp{t.Topic, t.Partitions[j].Partition}]
				t.Partitions[j].Metadata = &m
			}
		}
		return nil
	})
	var failed error
	s.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		failed = commitError(resp, err)
	})
	if errors.Is(failed, kerr.UnknownMemberID) || errors.Is(failed, kerr.IllegalGeneration) || errors.Is(failed, kerr.FencedInstanceID) {
		s.lease.end() // others may have the partitions; the client will say which are lost
	}
	if failed != nil {
		return fmt.Errorf("commit offsets of group %s: %w", s.cfg.Group, failed)
	}
	return nil
}
