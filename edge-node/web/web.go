// Package web serves what a node tells the outside: metrics for Prometheus, and whether it is alive and ready.
//
//	/metrics      Prometheus text format
//	/healthz      200 while the process runs
//	/readyz       200 when every pipeline does its work; 503 and the reasons, a line each, otherwise
//	/spool        what the local store has, as JSON; 404 on a node without one
//	/spool/drain  POST, from loopback alone: ships what there is, and answers when it is acknowledged
//
// It listens on loopback unless told otherwise, knows no payload and no key, and takes nothing in but that request.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-stream/weir/edge-node/pipeline"
)

// Pipeline is what the server asks.
type Pipeline interface {
	Status() pipeline.Status
	Problems() []string
	Drain(ctx context.Context) error
}

// Server answers on one address.
type Server struct {
	listener  net.Listener
	server    *http.Server
	pipelines []Pipeline
	store     *pipeline.Store // or nil
	log       *slog.Logger
}

// noDeadline takes the deadline off an answer.
var noDeadline time.Time

// New opens the address. version is for weir_build_info; modules and store may be nil.
func New(listen, version string, pipelines []Pipeline, modules *pipeline.Modules, store *pipeline.Store, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics and health on %s: %w; set listen in node.yaml, WEIR_LISTEN or --listen to another address", listen, err)
	}
	s := &Server{listener: l, pipelines: pipelines, store: store, log: log}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{pipelines: pipelines, modules: modules, store: store, version: version})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /spool", s.spool)
	mux.HandleFunc("POST /spool/drain", s.drain)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "weir: see /metrics, /healthz, /readyz, /spool")
	})
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Addr is the address it listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		shut, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = s.server.Shutdown(shut)
		_ = s.server.Close()
	})
	defer stop()
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics and health: %w", err)
	}
	return nil
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var problems []string
	for _, p := range s.pipelines {
		name := p.Status().Pipeline
		for _, why := range p.Problems() {
			problems = append(problems, name+": "+strings.ReplaceAll(why, "\n", "\n  "))
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, strings.Join(problems, "\n"))
		return
	}
	fmt.Fprintln(w, "ready")
	for _, p := range s.pipelines {
		if st := p.Status(); !st.DeliveryStatus.Held.IsZero() {
			fmt.Fprintf(w, "%s: waiting for shipping hours until %s; what comes is kept on the disk\n", st.Pipeline, st.DeliveryStatus.Held.Format(time.RFC3339))
		}
	}
}
