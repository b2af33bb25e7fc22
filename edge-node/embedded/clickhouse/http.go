package clickhouse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// handler serves ClickHouse's HTTP interface.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		_, _ = io.WriteString(w, "Ok.\n")
	}
	mux.HandleFunc("/ping", ok)
	mux.HandleFunc("/replicas_status", ok)
	mux.HandleFunc("/{$}", s.serveQuery)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "There is no handle "+clip(r.URL.Path, 200)+". Use / or /ping for health checks, and / with a query parameter or body for queries.", http.StatusNotFound)
	})
	return mux
}

// webRequest is one HTTP query as far as it has been understood.
type webRequest struct {
	r        *http.Request
	id       string
	format   string // what the client wants when the statement names none
	revision int    // client_protocol_version: the layout of Native answers
	settings []setting
	params   []libchdb.Param
	sql      string        // of the query parameter
	body     io.ReadCloser // decoded
	wait     bool          // wait_end_of_query
}

// reserved lists the URL parameters that are not settings.
var reserved = []string{
	"query", "query_id", "database", "user", "password", "default_format", "session_id", "session_timeout", "session_check",
	"compress", "decompress", "client_protocol_version", "wait_end_of_query", "buffer_size", "quota_key", "stacktrace",
	"role", "enable_http_compression", "http_zlib_compression_level", "add_http_cors_header", "close_session",
	"send_progress_in_http_headers", "http_headers_progress_interval_ms", "network_compression_method",
}

func (s *Server) serveQuery(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-ClickHouse-Server-Display-Name", "weir embedded")
	h.Set("X-ClickHouse-Timezone", s.timezone)
	select {
	case s.web <- struct{}{}:
		defer func() { <-s.web }()
	default:
		s.webError(w, exceptionf(codeTooManyConns, "Too many simultaneous queries: the embedded server serves %d at once", cap(s.web)))
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "GET, HEAD, POST, OPTIONS")
		http.Error(w, "method "+r.Method+" is not supported", http.StatusMethodNotAllowed)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.webError(w, exceptionf(codeBadArguments, "the URL's parameters cannot be read: %v", err))
		return
	}
	if r.Method == http.MethodGet && !q.Has("query") {
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	req, err := s.readWebRequest(r, q)
	if err != nil {
		s.webError(w, asException(err))
		return
	}
	defer req.body.Close()
	h.Set("X-ClickHouse-Query-Id", req.id)
	ses, release, err := s.borrow(q)
	if err != nil {
		s.webError(w, asException(err))
		return
	}
	out := newWebWriter(w, r, q, req.wait)
	err = s.runWeb(r.Context(), ses, req, q, out)
	release(err)
	if err != nil {
		out.fail(s, asException(err))
		return
	}
	out.close()
}

func (s *Server) readWebRequest(r *http.Request, q url.Values) (*webRequest, error) {
	user, password, basic := r.BasicAuth()
	if v := r.Header.Get("X-ClickHouse-User"); v != "" {
		user, password, basic = v, r.Header.Get("X-ClickHouse-Key"), true
	}
	if !basic {
		user, password = q.Get("user"), q.Get("password")
	}
	if err := s.authenticate(user, password); err != nil {
		return nil, err
	}
	req := &webRequest{r: r, id: q.Get("query_id"), format: "TabSeparated", sql: q.Get("query")}
	if req.id == "" || len(req.id) > 256 || strings.ContainsAny(req.id, "\r\n") {
		req.id = uuid.NewString()
	}
	for _, f := range []string{q.Get("default_format"), r.Header.Get("X-ClickHouse-Format")} {
		if f != "" {
			req.format = f
		}
	}
	if v := q.Get("client_protocol_version"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return nil, exceptionf(codeBadArguments, "client_protocol_version=%q is no revision", clip(v, 40))
		}
		req.revision = min(n, revision)
	}
	req.wait = q.Get("wait_end_of_query") == "1"
	for _, name := range sortedKeys(q) {
		value := q[name][len(q[name])-1]
		if p, ok := strings.CutPrefix(name, "param_"); ok {
			req.params = append(req.params, libchdb.Param{Name: p, Value: value})
		} else if !slices.Contains(reserved, name) {
			req.settings = append(req.settings, setting{name, value})
		}
	}
	if len(req.params) > maxParams || len(req.settings) > maxSettings {
		return nil, exceptionf(codeBadArguments, "more than %d parameters or %d settings in one query", maxParams, maxSettings)
	}
	var err error
	req.body, err = decodeBody(r, q)
	return req, err
}

func sortedKeys(q url.Values) []string {
	keys := make([]string, 0, len(q))
	for k := range q {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// runWeb runs the query. Everything it writes goes through out, which holds the head back until it is known to be good.
func (s *Server) runWeb(ctx context.Context, ses *session, req *webRequest, q url.Values, out *webWriter) error {
	if db := firstOf(q.Get("database"), req.r.Header.Get("X-ClickHouse-Database")); db != "" {
		ses.database = true
		if err := ses.use(db); err != nil {
			return err
		}
	}
	if err := ses.apply(req.settings); err != nil {
		return err
	}
	st, rows, err := req.statement()
	if err != nil {
		return err
	}
	if req.r.Method == http.MethodGet && (st.kind == kindInsert || st.kind == kindOther || st.kind == kindTemp) {
		return &exception{code: 164, message: "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. " +
			"You should use method POST for modifying queries. (READONLY)"}
	}
	started := time.Now()
	switch st.kind {
	case kindEmpty:
		return exceptionf(codeSyntaxError, "Syntax error: Empty query")
	case kindMultiple:
		return exceptionf(codeSyntaxError, "Syntax error: Multi-statements are not allowed")
	case kindInsert:
		stats, err := ses.insertReader(ctx, st, rows, req.params)
		if err != nil {
			return err
		}
		out.summary(stats, 0, started)
		return nil
	}
	format := firstOf(st.format, req.format)
	out.format(format)
	if st.kind == kindSelect && streams(format) {
		empty := true
		err := ses.stream(ctx, st, format, req.params, func(chunk []byte, stats libchdb.Stats) error {
			empty = false
			out.summary(stats, 0, started)
			return req.send(out, format, chunk)
		})
		if err == nil && empty && format == "Native" && req.revision > 0 {
			return req.sendHeader(ses, st, out)
		}
		return err
	}
	r, err := ses.query(ctx, st, format, req.params)
	if err != nil {
		return err
	}
	defer r.Close()
	out.summary(r.Stats(), len(r.Bytes()), started)
	return req.send(out, format, r.Bytes())
}

// send writes part of an answer, in the layout the client's revision has for Native.
func (req *webRequest) send(out *webWriter, format string, chunk []byte) error {
	if format != "Native" || req.revision == 0 {
		_, err := out.Write(chunk)
		return err
	}
	return eachBlock(chunk, layoutOf(req.revision), &out.scratch, func(_ blockHead, block []byte) error {
		_, err := out.Write(block)
		return err
	})
}

// sendHeader tells a client that knows blocks the columns of an answer without rows.
func (req *webRequest) sendHeader(ses *session, st statement, out *webWriter) error {
	columns, err := ses.describe(st.text, req.params)
	if err != nil {
		return err
	}
	_, err = out.Write(appendEmptyBlock(nil, columns, layoutOf(req.revision)))
	return err
}

// streams reports the formats whose parts can simply follow each other: no frame around the rows, no header line.
func streams(format string) bool {
	switch format {
	case "Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow", "JSONLines", "NDJSON",
		"JSONCompactEachRow", "LineAsString", "RawBLOB", "MsgPack":
		return true
	}
	return false
}

// insertReader inserts rows as they arrive.
func (s *session) insertReader(ctx context.Context, st statement, rows io.Reader, params []libchdb.Param) (libchdb.Stats, error) {
	if err := forbidden(st.head); err != nil {
		return libchdb.Stats{}, err
	}
	ins, err := s.conn.Insert(st.head, firstOf(st.format, "Values"), params)
	if err != nil {
		return libchdb.Stats{}, err
	}
	defer ins.Close()
	defer s.watch(ctx)()
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(rows, buf)
		if appendErr := ins.Append(buf[:n]); appendErr != nil {
			return libchdb.Stats{}, s.cancelled(ctx, appendErr)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && n < len(buf) && !isTruncated(err) {
			break
		}
		if err != nil {
			return libchdb.Stats{}, exceptionf(codeIncorrectData, "the request's body cannot be read: %v", err)
		}
	}
	stats, err := ins.Done()
	return stats, s.cancelled(ctx, err)
}

// bodyHead is how much of a body is looked at to find out whether it is an INSERT with rows.
const bodyHead = 256 << 10

// statement joins the query parameter and the body. For an INSERT the returned reader gives its rows; anything else is
// read whole.
func (req *webRequest) statement() (statement, io.Reader, error) {
	if req.sql != "" {
		if st := parseStatement(req.sql); st.kind == kindInsert {
			rows := io.Reader(req.body)
			if st.data < len(req.sql) {
				rows = io.MultiReader(strings.NewReader(req.sql[st.data:]+"\n"), rows)
			}
			return st, rows, nil
		}
	}
	sql := req.sql
	if sql != "" {
		sql += "\n"
	}
	head := make([]byte, bodyHead)
	n, err := io.ReadFull(req.body, head)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && !isTruncated(err):
		sql += string(head[:n])
		st := parseStatement(sql)
		if st.kind == kindInsert {
			return st, strings.NewReader(sql[st.data:]), nil
		}
		return st, nil, nil
	default:
		return statement{}, nil, exceptionf(codeIncorrectData, "the request's body cannot be read: %v", err)
	}
	if st := parseStatement(sql + string(head)); st.kind == kindInsert && st.format != "" {
		return st, io.MultiReader(strings.NewReader((sql + string(head))[st.data:]), req.body), nil
	}
	rest, err := io.ReadAll(io.LimitReader(req.body, maxQueryText+1))
	if err != nil {
		return statement{}, nil, exceptionf(codeIncorrectData, "the request's body cannot be read: %v", err)
	}
	if len(rest) > maxQueryText {
		return statement{}, nil, exceptionf(codeSyntaxError, "a query of more than %d bytes", maxQueryText)
	}
	sql += string(head) + string(rest)
	st := parseStatement(sql)
	if st.kind == kindInsert {
		return st, strings.NewReader(sql[st.data:]), nil
	}
	return st, nil, nil
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// webError answers a request that wrote nothing yet.
func (s *Server) webError(w http.ResponseWriter, e *exception) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.code))
	if e.code == 194 {
		h.Set("WWW-Authenticate", `Basic realm="ClickHouse"`)
	}
	w.WriteHeader(httpStatus(e.code))
	_, _ = io.WriteString(w, s.errorText(e))
}

func (s *Server) errorText(e *exception) string {
	text := e.Error()
	if !strings.Contains(text, "(version ") {
		text += fmt.Sprintf(" (version %s)", s.fullVer)
	}
	return text + "\n"
}

// summaryJSON is the X-ClickHouse-Summary header.
func summaryJSON(stats libchdb.Stats, resultBytes int, started time.Time) string {
	text := func(v uint64) string { return strconv.FormatUint(v, 10) }
	var b bytes.Buffer
	_ = json.NewEncoder(&b).Encode(struct {
		ReadRows     string `json:"read_rows"`
		ReadBytes    string `json:"read_bytes"`
		WrittenRows  string `json:"written_rows"`
		WrittenBytes string `json:"written_bytes"`
		TotalRows    string `json:"total_rows_to_read"`
		ResultRows   string `json:"result_rows"`
		ResultBytes  string `json:"result_bytes"`
		Elapsed      string `json:"elapsed_ns"`
	}{text(stats.RowsRead), text(stats.BytesRead), text(stats.RowsWritten), text(stats.BytesWritten), text(stats.RowsRead), text(stats.RowsWritten), text(uint64(resultBytes)), text(uint64(time.Since(started)))})
	return strings.TrimSpace(b.String())
}
