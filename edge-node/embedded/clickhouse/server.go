// Package clickhouse is the embedded ClickHouse server: libchdb, the ClickHouse engine as a library, behind ClickHouse's
// own native TCP protocol and HTTP interface, so that unmodified clients work against it.
//
// It owns the storage folder and both listeners. edge-node/cli runs it as `weir embedded clickhouse`, always as a process
// of its own, for the demo, for tests and for single-box installs. It promises what the two protocols promise to a
// client; it has no TLS, no users beyond one name and password, no clustering and no query log. README.md beside this
// folder lists its limits.
//
// A connection's life: connection.go (packets, hello) → query.go (one query) → insert.go or select.go → session.go (the
// engine). block.go, column.go and types.go find the ends of blocks, which the wire does not mark.
package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// Config says how to run the server. The zero value of every field but Dir is a usable default.
type Config struct {
	// Dir is the folder the data is kept in; it is made when absent. One process at a time may use it.
	Dir string
	// NativeAddr and HTTPAddr are host:port to listen on; default 127.0.0.1:0, a free port on loopback. Without a Password
	// only loopback addresses are accepted. "-" turns a listener off.
	NativeAddr, HTTPAddr string
	// LibPath is the libchdb.so to load; default what libchdb.Locate finds.
	LibPath string
	// User and Password are what clients must present; default user "default" and no password, which accepts any.
	User, Password string
	// MaxMemory bounds the engine's memory in bytes; default 2 GiB. A query over it fails with code 241.
	MaxMemory int64
	// MaxConnections bounds clients on the native port, and requests in progress on the HTTP port; default 256 each.
	MaxConnections int
	// MaxBlock bounds one inserted block, uncompressed, in bytes; default 1 GiB.
	MaxBlock int
	// Ready receives one line of JSON, see ReadyLine, when both listeners accept; default os.Stdout.
	Ready io.Writer `json:"-"`
}

func (c *Config) setDefaults() {
	if c.NativeAddr == "" {
		c.NativeAddr = "127.0.0.1:0"
	}
	if c.HTTPAddr == "" {
		c.HTTPAddr = "127.0.0.1:0"
	}
	if c.User == "" {
		c.User = "default"
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 2 << 30
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 256
	}
	if c.MaxBlock == 0 {
		c.MaxBlock = 1 << 30
	}
	if c.Ready == nil {
		c.Ready = os.Stdout
	}
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	c.setDefaults()
	if c.Dir == "" {
		return errors.New("embedded clickhouse: no data folder given")
	}
	if c.MaxMemory < 64<<20 {
		return fmt.Errorf("embedded clickhouse: %d bytes of memory are too few; the engine needs at least 64 MiB", c.MaxMemory)
	}
	if c.MaxConnections < 1 || c.MaxBlock < 1 {
		return errors.New("embedded clickhouse: connections and block size must be positive")
	}
	if c.NativeAddr == "-" && c.HTTPAddr == "-" {
		return errors.New("embedded clickhouse: both listeners are turned off")
	}
	for _, a := range []string{c.NativeAddr, c.HTTPAddr} {
		if a == "-" {
			continue
		}
		if err := checkAddr(a, c.Password != ""); err != nil {
			return err
		}
	}
	return nil
}

// checkAddr refuses to open a server without a password to the network.
func checkAddr(addr string, password bool) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("embedded clickhouse: listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); password || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("embedded clickhouse: %q is not a loopback address, and the server has no TLS; listen on 127.0.0.1, or set a password", addr)
}

// ReadyLine is the one line Run writes to Config.Ready.
type ReadyLine struct {
	Service string `json:"service"`           // "clickhouse"
	PID     int    `json:"pid"`               // of the server
	Native  string `json:"native,omitempty"`  // host:port of the native protocol
	HTTP    string `json:"http,omitempty"`    // host:port of HTTP
	Version string `json:"version,omitempty"` // of the ClickHouse engine
}

// Server is a running or startable embedded ClickHouse.
type Server struct {
	cfg    Config
	engine *libchdb.Engine

	native, http net.Listener

	version  [3]int // of the engine: major, minor, patch
	fullVer  string
	timezone string

	sessions atomic.Uint64 // numbers sessions
	ddl      atomic.Uint64 // counts statements that may change a table's columns
	queries  atomic.Uint64 // numbers queries without an id

	controlMu sync.Mutex
	control   *session // runs KILL QUERY

	idle  chan *session // sessions HTTP requests borrow
	named namedSessions
	slots chan struct{} // one per native connection
	web   chan struct{} // one per HTTP request in progress

	settingsOnce  sync.Once
	settingsTypes map[string]bool // settings that old clients send as integers
}

// New opens the data folder and both listeners. Run serves; a Server that is not run must be closed. There can be only one
// Server in a process, ever: the engine cannot be unloaded.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.LibPath == "" {
		path, err := libchdb.Locate()
		if err != nil {
			return nil, fmt.Errorf("start the embedded ClickHouse: %w", err)
		}
		cfg.LibPath = path
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the ClickHouse data folder: %w", err)
	}
	s := &Server{
		cfg: cfg, idle: make(chan *session, 8),
		slots: make(chan struct{}, cfg.MaxConnections), web: make(chan struct{}, cfg.MaxConnections),
	}
	s.named.init()
	if err := s.open(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open() (err error) {
	if s.cfg.NativeAddr != "-" {
		if s.native, err = net.Listen("tcp", s.cfg.NativeAddr); err != nil {
			return fmt.Errorf("listen for the native protocol: %w", err)
		}
	}
	if s.cfg.HTTPAddr != "-" {
		if s.http, err = net.Listen("tcp", s.cfg.HTTPAddr); err != nil {
			return fmt.Errorf("listen for HTTP: %w", err)
		}
	}
	pool := max(2, runtime.NumCPU())
	s.engine, err = libchdb.Open(libchdb.EngineConfig{
		Library: s.cfg.LibPath,
		Dir:     s.cfg.Dir,
		Args: []string{
			"--max_server_memory_usage=" + strconv.FormatInt(s.cfg.MaxMemory, 10),
			"--background_pool_size=" + strconv.Itoa(pool),
			"--max_threads=" + strconv.Itoa(pool),
		},
	})
	if err != nil {
		return err
	}
	if s.control, err = s.newSession(); err != nil {
		return fmt.Errorf("open the control session: %w", err)
	}
	out, err := s.control.value("SELECT version(), timezone()", "TSVRaw", nil)
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	s.fullVer, s.timezone, _ = strings.Cut(strings.TrimSpace(out), "\t")
	for i, part := range strings.SplitN(s.fullVer, ".", 4) {
		if i < len(s.version) {
			s.version[i], _ = strconv.Atoi(part)
		}
	}
	return nil
}

// Addr is the address of the native listener, "" when it is off.
func (s *Server) Addr() string { return addrOf(s.native) }

// HTTPAddr is the address of the HTTP listener, "" when it is off.
func (s *Server) HTTPAddr() string { return addrOf(s.http) }

func addrOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// Run serves until ctx ends, then cancels what runs, waits for it and closes the storage. It returns nil after a stop
// that ctx asked for.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	var failed error
	var once sync.Once
	fail := func(err error) { once.Do(func() { failed = err }); cancel(err) }

	web := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    1 << 20,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	if s.native != nil {
		wg.Go(func() { s.serveNative(ctx, &wg, fail) })
	}
	if s.http != nil {
		wg.Go(func() {
			if err := web.Serve(s.http); !errors.Is(err, http.ErrServerClosed) {
				fail(fmt.Errorf("serve HTTP: %w", err))
			}
		})
	}
	if err := s.announce(); err != nil {
		fail(err)
	}
	<-ctx.Done()
	if s.native != nil {
		_ = s.native.Close()
	}
	stopping, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	if err := web.Shutdown(stopping); err != nil {
		_ = web.Close()
	}
	wg.Wait()
	s.Close()
	return failed
}

func (s *Server) announce() error {
	line, err := json.Marshal(ReadyLine{Service: "clickhouse", PID: os.Getpid(), Native: s.Addr(), HTTP: s.HTTPAddr(), Version: s.fullVer})
	if err == nil {
		_, err = s.cfg.Ready.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write the ready line: %w", err)
	}
	return nil
}

// serveNative accepts connections until the listener is closed.
func (s *Server) serveNative(ctx context.Context, wg *sync.WaitGroup, fail func(error)) {
	for {
		nc, err := s.native.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				continue
			}
			if isTooManyFiles(err) {
				time.Sleep(50 * time.Millisecond)
				continue
			}
			fail(fmt.Errorf("accept on the native port: %w", err))
			return
		}
		wg.Go(func() { s.serveConn(ctx, nc) })
	}
}

// kill ends the running query of the session with this tag.
func (s *Server) kill(tag string) {
	s.controlMu.Lock()
	defer s.controlMu.Unlock()
	// An error means the query ended by itself.
	_ = s.control.run("KILL QUERY WHERE startsWith(Settings['log_comment'], " + quote(tag) + ") ASYNC")
}

// Close closes listeners and storage. Run calls it; it may be called again.
func (s *Server) Close() {
	for _, l := range []net.Listener{s.native, s.http} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.engine == nil {
		return
	}
	s.named.closeAll()
	for {
		select {
		case ses := <-s.idle:
			ses.close()
			continue
		default:
		}
		break
	}
	s.controlMu.Lock()
	if s.control != nil {
		s.control.close()
		s.control = nil
	}
	s.controlMu.Unlock()
	s.engine.Close()
	s.engine = nil
}
