//go:build !linux || !(amd64 || arm64) || weir_static

package libchdb

// This file stands in where the library cannot be loaded: systems other than Linux, and builds with the weir_static
// tag, which gives a binary that needs no dynamic loader (the binding makes the binary need the C library's).

// canLoad tells whether this build can load the library.
const canLoad = false

type handle *struct{}

type api struct{}

func loadAPI(string) (*api, error) { return nil, ErrUnsupported }

func (*api) version() string                 { return "" }
func (*api) connect([]string) (*Conn, error) { return nil, ErrUnsupported }
func (*api) close(handle)                    {}

// Query runs one statement; see the Linux build.
func (*Conn) Query(string, string, []Param) (*Result, error) { return nil, ErrUnsupported }

// Stream starts a SELECT; see the Linux build.
func (*Conn) Stream(string, string, []Param) (*Stream, error) { return nil, ErrUnsupported }

// Insert starts an INSERT; see the Linux build.
func (*Conn) Insert(string, string, []Param) (*Insert, error) { return nil, ErrUnsupported }

// Result is the answer to one statement.
type Result struct{}

// Bytes returns nil here.
func (*Result) Bytes() []byte { return nil }

// Stats returns zeros here.
func (*Result) Stats() Stats { return Stats{} }

// Close does nothing here.
func (*Result) Close() {}

// Stream is a running SELECT.
type Stream struct{}

// Next fails here.
func (*Stream) Next() (*Result, error) { return nil, ErrUnsupported }

// Close does nothing here.
func (*Stream) Close() {}

// Insert is a running INSERT.
type Insert struct{}

// Append fails here.
func (*Insert) Append([]byte) error { return ErrUnsupported }

// Done fails here.
func (*Insert) Done() (Stats, error) { return Stats{}, ErrUnsupported }

// Close does nothing here.
func (*Insert) Close() {}
