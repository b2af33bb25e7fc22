package web

import (
	"encoding/json"
	"net"
	"net/http"
	"sync"

	"github.com/weir-stream/weir/edge-node/pipeline"
)

// Spool is the answer of /spool: what the local store of a running node has.
type Spool struct {
	Lanes []pipeline.StoredLane `json:"lanes"`
}

// Drained is the answer of /spool/drain, a line per pipeline.
type Drained struct {
	Pipelines []DrainedPipeline `json:"pipelines"`
}

// DrainedPipeline is how the drain of a pipeline ended.
type DrainedPipeline struct {
	Pipeline string `json:"pipeline"`
	Error    string `json:"error,omitempty"`
}

// DrainHeader must be set to ask for a drain: a page in a browser cannot set it for another site.
const DrainHeader = "Weir-Command"

func (s *Server) spool(w http.ResponseWriter, _ *http.Request) {
	if s.store == nil {
		http.Error(w, "the node has no local store: it has no state_dir", http.StatusNotFound)
		return
	}
	var running []pipeline.Status
	for _, p := range s.pipelines {
		running = append(running, p.Status())
	}
	lanes, err := s.store.LanesOf(running)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, Spool{lanes})
}

// drain ships what there is and answers when it is acknowledged. It takes as long as it takes, and ends with its request.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		http.Error(w, "only from the node itself", http.StatusForbidden)
		return
	}
	if r.Header.Get(DrainHeader) != "drain" {
		http.Error(w, "the header "+DrainHeader+": drain is missing", http.StatusBadRequest)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(noDeadline)
	answer := Drained{Pipelines: make([]DrainedPipeline, len(s.pipelines))}
	var wg sync.WaitGroup
	for i, p := range s.pipelines {
		answer.Pipelines[i].Pipeline = p.Status().Pipeline
		wg.Go(func() {
			if err := p.Drain(r.Context()); err != nil {
				answer.Pipelines[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	writeJSON(w, answer)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // nobody is there to be told
}
