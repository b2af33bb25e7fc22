package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/spf13/cobra"
)

// profiling is the server of profiles of weir run. It is off unless asked for, and on loopback unless asked for twice: a
// profile tells names and sizes of what a node works on, and taking one costs it time.
type profiling struct {
	listen string
	remote bool
}

func (p *profiling) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.listen, "pprof", "", "address for profiles, such as 127.0.0.1:6060; default none")
	cmd.Flags().BoolVar(&p.remote, "pprof-remote", false, "let --pprof be an address that other machines reach; there is no password")
}

// check refuses an address that others reach, unless they may.
func (p *profiling) check(cmd *cobra.Command) error {
	if p.listen == "" {
		if p.remote {
			return usagef(cmd, "--pprof-remote is about --pprof, which is not given")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(p.listen)
	if err != nil {
		return usagef(cmd, "--pprof: %v; it is host:port, such as 127.0.0.1:6060", err)
	}
	if ip := net.ParseIP(host); !p.remote && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef(cmd, "--pprof: %s is not a loopback address; use 127.0.0.1, or add --pprof-remote: whoever reaches it can profile the node", p.listen)
	}
	return nil
}

// start serves profiles until stop is called, which waits for it. Without an address it does nothing.
func (p *profiling) start(log *slog.Logger) (stop func() error, err error) {
	if p.listen == "" {
		return func() error { return nil }, nil
	}
	l, err := net.Listen("tcp", p.listen)
	if err != nil {
		return nil, fmt.Errorf("listen for profiles on %s: %w", p.listen, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	log.Info("serving profiles", "address", "http://"+l.Addr().String())
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		// A profile that is being taken is cut off: the node does not wait for it.
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve profiles: %w", err)
		}
		return nil
	}, nil
}
