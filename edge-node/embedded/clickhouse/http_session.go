package clickhouse

import (
	"net/url"
	"strconv"
	"sync"
	"time"
)

// namedSessions keeps the sessions that HTTP clients name with session_id.
type namedSessions struct {
	mu   sync.Mutex
	byID map[string]*namedSession
}

type namedSession struct {
	ses     *session
	busy    bool
	timeout time.Duration
	expiry  *time.Timer // runs while the session is not busy
}

const (
	maxNamedSessions   = 256
	maxSessionTimeout  = time.Hour
	sessionTimeoutBase = time.Minute
)

func (n *namedSessions) init() { n.byID = map[string]*namedSession{} }

// borrow returns a session for one HTTP request and what gives it back.
func (s *Server) borrow(q url.Values) (*session, func(error), error) {
	if id := q.Get("session_id"); id != "" {
		return s.borrowNamed(id, q)
	}
	var ses *session
	select {
	case ses = <-s.idle:
	default:
		var err error
		if ses, err = s.newSession(); err != nil {
			return nil, nil, err
		}
	}
	return ses, func(error) { s.giveBack(ses) }, nil
}

// giveBack keeps a session for the next request, unless it carries state of this one.
func (s *Server) giveBack(ses *session) {
	if ses.database {
		ses.database = false
		if ses.use("default") != nil {
			ses.private = true
		}
	}
	if ses.private || ses.apply(nil) != nil {
		ses.close()
		return
	}
	select {
	case s.idle <- ses:
	default:
		ses.close()
	}
}

func (s *Server) borrowNamed(id string, q url.Values) (*session, func(error), error) {
	timeout := sessionTimeoutBase
	if v := q.Get("session_timeout"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n <= 0 || time.Duration(n)*time.Second > maxSessionTimeout {
			return nil, nil, exceptionf(codeBadArguments, "session_timeout=%q is no number of seconds up to %d", clip(v, 40), int(maxSessionTimeout.Seconds()))
		}
		timeout = time.Duration(n) * time.Second
	}
	n := &s.named
	n.mu.Lock()
	defer n.mu.Unlock()
	held, ok := n.byID[id]
	switch {
	case ok && held.busy:
		return nil, nil, exceptionf(codeSessionLocked, "Session %s is locked by a concurrent client", quote(clip(id, 100)))
	case ok:
		held.expiry.Stop()
	case q.Get("session_check") == "1":
		return nil, nil, exceptionf(codeSessionNotFound, "Session %s not found", quote(clip(id, 100)))
	case len(n.byID) >= maxNamedSessions:
		return nil, nil, exceptionf(codeTooManyConns, "more than %d sessions", maxNamedSessions)
	default:
		ses, err := s.newSession()
		if err != nil {
			return nil, nil, err
		}
		held = &namedSession{ses: ses}
		n.byID[id] = held
	}
	held.busy, held.timeout = true, timeout
	return held.ses, func(error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		held.busy = false
		held.ses.database = false
		held.expiry = time.AfterFunc(held.timeout, func() { n.expire(id, held) })
	}, nil
}

func (n *namedSessions) expire(id string, held *namedSession) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !held.busy && n.byID[id] == held {
		delete(n.byID, id)
		held.ses.close()
	}
}

// closeAll closes the sessions when no request is left.
func (n *namedSessions) closeAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, held := range n.byID {
		if held.expiry != nil {
			held.expiry.Stop()
		}
		held.ses.close()
		delete(n.byID, id)
	}
}
