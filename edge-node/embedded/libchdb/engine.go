package libchdb

import (
	"errors"
	"fmt"
	"sync"
)

// EngineConfig says how to start the engine.
type EngineConfig struct {
	// Library is the path of libchdb.so, as Locate returns it.
	Library string
	// Dir is the folder the data is kept in. One process at a time may use it.
	Dir string
	// Args are further engine settings, each as --name=value.
	Args []string
}

// ErrUnsupported is returned by Open and Ensure in builds and on systems that cannot load the library.
var ErrUnsupported = errors.New("this build of weir has no embedded ClickHouse (static builds and those for other systems than Linux have none): " +
	"use one from 'make build' on Linux, or a ClickHouse server of your own")

// Engine is the library loaded into this process, with its storage open. There can be only one: the library keeps
// global state and cannot be unloaded. It is safe for concurrent use.
type Engine struct {
	api  *api
	argv []string

	mu    sync.Mutex
	first *Conn // kept open for the engine's whole life, so that the storage is not closed and reopened
}

// Conn is one session of the engine: it has its own settings, current database and temporary tables, and runs one
// statement at a time. It is not safe for concurrent use.
type Conn struct {
	api    *api
	handle handle // chdb_connection*, what chdb_close_conn takes
	conn   handle // the chdb_connection in it, what everything else takes
}

// Param is a value for a {name:Type} placeholder, in the text form the engine parses.
type Param struct{ Name, Value string }

// Stats are the counters of one statement.
type Stats struct {
	RowsRead, BytesRead       uint64 // read from storage
	RowsWritten, BytesWritten uint64
	Seconds                   float64
}

// Error is what the engine answered instead of a result: the text of a DB::Exception.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Open loads the library and opens the storage in cfg.Dir. It must be called once per process.
func Open(cfg EngineConfig) (*Engine, error) {
	if cfg.Library == "" || cfg.Dir == "" {
		return nil, errors.New("open libchdb: a library path and a folder are needed")
	}
	a, err := loadAPI(cfg.Library)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", cfg.Library, err)
	}
	argv := append([]string{"clickhouse", "--path=" + cfg.Dir}, cfg.Args...)
	e := &Engine{api: a, argv: argv}
	if e.first, err = e.Connect(); err != nil {
		return nil, fmt.Errorf("open the ClickHouse data in %s: %w (is another process using it?)", cfg.Dir, err)
	}
	return e, nil
}

// Version is the library's own version, as it reports it.
func (e *Engine) Version() string { return e.api.version() }

// Close closes the storage. Connections must be closed before; the library itself stays loaded.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.first != nil {
		e.first.Close()
		e.first = nil
	}
}

// Connect opens another session on the same storage.
func (e *Engine) Connect() (*Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.api.connect(e.argv)
}

// Close ends the session. It may be called twice.
func (c *Conn) Close() {
	if c.handle != nil {
		c.api.close(c.handle)
		c.handle, c.conn = nil, nil
	}
}
