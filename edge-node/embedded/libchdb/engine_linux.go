//go:build linux && (amd64 || arm64) && !weir_static

package libchdb

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// canLoad tells whether this build can load the library.
const canLoad = true

// handle is a pointer the library gave out. Go never looks behind it.
type handle = unsafe.Pointer

// api is the part of the library's C interface (chdb.h) that is used. Every char* and its length travel together: no
// text needs a closing NUL except argv.
type api struct {
	chdbVersion       func() *byte
	chdbConnect       func(argc int32, argv unsafe.Pointer) handle
	chdbClose         func(conn handle)
	setSignalHandlers func(enabled int32)

	queryParams  func(conn handle, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) handle
	streamParams func(conn handle, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) handle
	streamFetch  func(conn, stream handle) handle
	streamCancel func(conn, stream handle)
	destroy      func(result handle)

	insertParams  func(conn handle, sql unsafe.Pointer, n uintptr, format unsafe.Pointer, fn uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) handle
	insertAppend  func(stream handle, data unsafe.Pointer, n uintptr) int32
	insertDone    func(stream handle) handle
	insertCancel  func(stream handle)
	insertError   func(stream handle) *byte
	insertDestroy func(stream handle)

	resultBuffer       func(result handle) unsafe.Pointer
	resultLength       func(result handle) uintptr
	resultElapsed      func(result handle) float64
	resultRowsRead     func(result handle) uint64
	resultBytesRead    func(result handle) uint64
	resultRowsWritten  func(result handle) uint64
	resultBytesWritten func(result handle) uint64
	resultError        func(result handle) *byte
}

func loadAPI(path string) (*api, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	a := &api{}
	for _, f := range []struct {
		to   any
		name string
	}{
		{&a.chdbVersion, "chdb_version"},
		{&a.chdbConnect, "chdb_connect"},
		{&a.chdbClose, "chdb_close_conn"},
		{&a.setSignalHandlers, "chdb_set_signal_handlers_enabled"},
		{&a.queryParams, "chdb_query_with_params_n"},
		{&a.streamParams, "chdb_stream_query_with_params_n"},
		{&a.streamFetch, "chdb_stream_fetch_result"},
		{&a.streamCancel, "chdb_stream_cancel_query"},
		{&a.destroy, "chdb_destroy_query_result"},
		{&a.insertParams, "chdb_stream_insert_with_params_n"},
		{&a.insertAppend, "chdb_stream_append"},
		{&a.insertDone, "chdb_stream_done"},
		{&a.insertCancel, "chdb_stream_cancel_insert"},
		{&a.insertError, "chdb_stream_insert_error"},
		{&a.insertDestroy, "chdb_destroy_insert_stream"},
		{&a.resultBuffer, "chdb_result_buffer"},
		{&a.resultLength, "chdb_result_length"},
		{&a.resultElapsed, "chdb_result_elapsed"},
		{&a.resultRowsRead, "chdb_result_storage_rows_read"},
		{&a.resultBytesRead, "chdb_result_storage_bytes_read"},
		{&a.resultRowsWritten, "chdb_result_rows_written"},
		{&a.resultBytesWritten, "chdb_result_bytes_written"},
		{&a.resultError, "chdb_result_error"},
	} {
		symbol, err := purego.Dlsym(lib, f.name)
		if err != nil {
			return nil, fmt.Errorf("it is no libchdb %s or newer: %w", Version, err)
		}
		purego.RegisterFunc(f.to, symbol)
	}
	// Telling the library to leave signals alone makes it reset them to the default first, so Go's handlers are put
	// back afterwards.
	if err := keepSignals(func() { a.setSignalHandlers(0) }); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *api) version() string { return text(a.chdbVersion()) }

func (a *api) connect(argv []string) (*Conn, error) {
	var blob []byte
	starts := make([]int, len(argv))
	for i, s := range argv {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fmt.Errorf("argument %q holds a NUL byte", s)
		}
		starts[i] = len(blob)
		blob = append(append(blob, s...), 0)
	}
	pointers := make([]unsafe.Pointer, len(argv)+1)
	for i, at := range starts {
		pointers[i] = unsafe.Pointer(&blob[at])
	}
	var h handle
	err := keepSignals(func() { h = a.chdbConnect(int32(len(argv)), unsafe.Pointer(&pointers[0])) })
	runtime.KeepAlive(blob)
	runtime.KeepAlive(pointers)
	if err != nil {
		return nil, err
	}
	if h == nil || *(*handle)(h) == nil {
		return nil, errors.New("the engine refused to connect; it says why on stderr")
	}
	return &Conn{api: a, handle: h, conn: *(*handle)(h)}, nil
}

func (a *api) close(h handle) { a.chdbClose(h) }

// call holds the arguments of a statement in the layout the library wants.
type call struct {
	sql, format            []byte
	names, values          []unsafe.Pointer
	nameLens, valueLens    []uintptr
	blob                   []byte
	namesP, nameLensP      unsafe.Pointer
	valuesP, valueLensP    unsafe.Pointer
	sqlP, formatP          unsafe.Pointer
	sqlN, formatN, paramsN uintptr
}

func newCall(sql, format string, params []Param) *call {
	c := &call{sql: append([]byte(sql), 0), format: append([]byte(format), 0)}
	c.sqlP, c.sqlN = unsafe.Pointer(&c.sql[0]), uintptr(len(sql))
	c.formatP, c.formatN = unsafe.Pointer(&c.format[0]), uintptr(len(format))
	if len(params) == 0 {
		return c
	}
	size := 0
	for _, p := range params {
		size += len(p.Name) + len(p.Value) + 2
	}
	c.blob = make([]byte, 0, size) // never grown, so pointers into it stay good
	add := func(s string) unsafe.Pointer {
		at := len(c.blob)
		c.blob = append(append(c.blob, s...), 0)
		return unsafe.Pointer(&c.blob[at])
	}
	for _, p := range params {
		c.names, c.nameLens = append(c.names, add(p.Name)), append(c.nameLens, uintptr(len(p.Name)))
		c.values, c.valueLens = append(c.values, add(p.Value)), append(c.valueLens, uintptr(len(p.Value)))
	}
	c.namesP, c.nameLensP = unsafe.Pointer(&c.names[0]), unsafe.Pointer(&c.nameLens[0])
	c.valuesP, c.valueLensP = unsafe.Pointer(&c.values[0]), unsafe.Pointer(&c.valueLens[0])
	c.paramsN = uintptr(len(params))
	return c
}

// Query runs one statement and returns its whole answer in the named output format. The caller closes the result.
func (c *Conn) Query(sql, format string, params []Param) (*Result, error) {
	a := newCall(sql, format, params)
	h := c.api.queryParams(c.conn, a.sqlP, a.sqlN, a.formatP, a.formatN, a.namesP, a.nameLensP, a.valuesP, a.valueLensP, a.paramsN)
	runtime.KeepAlive(a)
	return c.result(h)
}

// result wraps h, or turns it into the error it carries.
func (c *Conn) result(h handle) (*Result, error) {
	if h == nil {
		return nil, &Error{Text: "Code: 1002. DB::Exception: the engine gave no answer. (UNKNOWN_EXCEPTION)"}
	}
	if msg := c.api.resultError(h); msg != nil {
		err := &Error{Text: text(msg)}
		c.api.destroy(h)
		return nil, err
	}
	return &Result{api: c.api, handle: h}, nil
}

// Result is the answer to one statement, or one part of a streamed answer.
type Result struct {
	api    *api
	handle handle
}

// Bytes returns the answer. The memory belongs to the library and is gone after Close.
func (r *Result) Bytes() []byte {
	p, n := r.api.resultBuffer(r.handle), r.api.resultLength(r.handle)
	if p == nil || n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(p), int(n))
}

// Stats returns the statement's counters so far.
func (r *Result) Stats() Stats {
	return Stats{
		RowsRead:     r.api.resultRowsRead(r.handle),
		BytesRead:    r.api.resultBytesRead(r.handle),
		RowsWritten:  r.api.resultRowsWritten(r.handle),
		BytesWritten: r.api.resultBytesWritten(r.handle),
		Seconds:      r.api.resultElapsed(r.handle),
	}
}

// Close frees the answer. It may be called twice.
func (r *Result) Close() {
	if r.handle != nil {
		r.api.destroy(r.handle)
		r.handle = nil
	}
}

// Stream is a running SELECT. Nothing else may use its Conn until Close.
type Stream struct {
	conn   *Conn
	handle handle
	ended  bool
}

// Stream starts a SELECT. Other statements are refused by the engine with code 36.
func (c *Conn) Stream(sql, format string, params []Param) (*Stream, error) {
	a := newCall(sql, format, params)
	h := c.api.streamParams(c.conn, a.sqlP, a.sqlN, a.formatP, a.formatN, a.namesP, a.nameLensP, a.valuesP, a.valueLensP, a.paramsN)
	runtime.KeepAlive(a)
	r, err := c.result(h)
	if err != nil {
		return nil, err
	}
	return &Stream{conn: c, handle: r.handle}, nil
}

// Next returns the next part of the answer, or nil at its end. The caller closes each part. A blocked Next is ended by
// KILL QUERY from another Conn and by nothing else.
func (s *Stream) Next() (*Result, error) {
	if s.ended {
		return nil, nil
	}
	r, err := s.conn.result(s.conn.api.streamFetch(s.conn.conn, s.handle))
	if err != nil {
		s.ended = true
		return nil, err
	}
	if len(r.Bytes()) == 0 {
		s.ended = true
		r.Close()
		return nil, nil
	}
	return r, nil
}

// Close ends the SELECT, whether or not its answer was read to the end. It must not run beside Next.
func (s *Stream) Close() {
	if s.handle == nil {
		return
	}
	if !s.ended {
		s.conn.api.streamCancel(s.conn.conn, s.handle)
	}
	s.conn.api.destroy(s.handle)
	s.handle = nil
}

// Insert is a running INSERT. Nothing else may use its Conn until Close.
type Insert struct {
	conn   *Conn
	handle handle
	done   bool
}

// Insert starts an INSERT whose rows follow in the named input format. The statement must end before FORMAT or VALUES.
func (c *Conn) Insert(sql, format string, params []Param) (*Insert, error) {
	a := newCall(sql, format, params)
	h := c.api.insertParams(c.conn, a.sqlP, a.sqlN, a.formatP, a.formatN, a.namesP, a.nameLensP, a.valuesP, a.valueLensP, a.paramsN)
	runtime.KeepAlive(a)
	if h == nil {
		return nil, &Error{Text: "Code: 1002. DB::Exception: the engine started no insert. (UNKNOWN_EXCEPTION)"}
	}
	i := &Insert{conn: c, handle: h}
	if err := i.failure(); err != nil {
		i.done = true
		i.Close()
		return nil, err
	}
	return i, nil
}

func (i *Insert) failure() error {
	if msg := i.conn.api.insertError(i.handle); msg != nil {
		return &Error{Text: text(msg)}
	}
	return nil
}

// Append hands over the next bytes, cut anywhere. The library copies them; it blocks while the engine is behind.
func (i *Insert) Append(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	state := i.conn.api.insertAppend(i.handle, unsafe.Pointer(&p[0]), uintptr(len(p)))
	runtime.KeepAlive(p)
	if state == 0 {
		return nil
	}
	if err := i.failure(); err != nil {
		return err
	}
	return &Error{Text: "Code: 1002. DB::Exception: the engine refused more rows. (UNKNOWN_EXCEPTION)"}
}

// Done ends the rows and commits them. Rows are atomic per block: what the engine has written before an error stays.
func (i *Insert) Done() (Stats, error) {
	i.done = true
	r, err := i.conn.result(i.conn.api.insertDone(i.handle))
	if err != nil {
		return Stats{}, err
	}
	defer r.Close()
	return r.Stats(), nil
}

// Close frees the INSERT, and abandons it when Done was not called.
func (i *Insert) Close() {
	if i.handle == nil {
		return
	}
	if !i.done {
		i.conn.api.insertCancel(i.handle)
	}
	i.conn.api.insertDestroy(i.handle)
	i.handle = nil
}

// text copies a C string.
func text(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
