package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// session is one client's state on the engine: a connection of its own, with settings, database and temporary tables.
// It runs one statement at a time and is not safe for concurrent use.
type session struct {
	srv  *Server
	conn *libchdb.Conn
	tag  string // what marks this session's queries in system.processes, so that they can be killed

	overlay  map[string]string // settings that came with the last query and are in force now
	base     map[string]string // what SET gave those settings before, where a SET was ever run; absent: the default
	userSet  bool              // the client ran a SET of its own
	database bool              // an HTTP request chose the database
	private  bool              // the session has state another client must not inherit: it is not reused

	headers    map[string][]columnHead // what INSERT targets look like
	headersGen uint64                  // the DDL generation they were read at
}

type setting struct{ name, value string }

const maxCachedHeaders = 256

// newSession opens a session. The caller closes it.
func (s *Server) newSession() (*session, error) {
	conn, err := s.engine.Connect()
	if err != nil {
		return nil, exceptionf(codeUnknown, "the engine refused a new session: %v", err)
	}
	ses := &session{
		srv: s, conn: conn,
		tag:     "weir-session-" + strconv.FormatUint(s.sessions.Add(1), 10) + " ",
		overlay: map[string]string{}, base: map[string]string{}, headers: map[string][]columnHead{},
	}
	// Types must come on one line, JSON as text, and no profiler may interrupt threads with signals.
	err = ses.run("SET log_comment = " + quote(ses.tag) + ", print_pretty_type_names = 0, output_format_native_write_json_as_string = 1, " +
		"query_profiler_real_time_period_ns = 0, query_profiler_cpu_time_period_ns = 0")
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ses, nil
}

func (s *session) close() { s.conn.Close() }

// run executes a statement whose answer does not matter.
func (s *session) run(sql string) error {
	r, err := s.conn.Query(sql, "TSV", nil)
	if err != nil {
		return err
	}
	r.Close()
	return nil
}

// value runs a statement and returns its answer as text.
func (s *session) value(sql, format string, params []libchdb.Param) (string, error) {
	r, err := s.conn.Query(sql, format, params)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return string(r.Bytes()), nil
}

func (s *session) use(database string) error { return s.run("USE " + quoteIdentifier(database)) }

// apply puts the settings of the next query in force and takes back those of the last one that it does not repeat. A
// client that sends the same settings with every query costs nothing.
func (s *session) apply(settings []setting) error {
	next := make(map[string]string, len(settings))
	for _, st := range settings {
		if !validSetting(st.name) {
			return exceptionf(codeUnknownSetting, "Unknown setting %s", quote(clip(st.name, 100)))
		}
		if st.name == "log_comment" {
			st.value = s.tag + st.value
		}
		next[st.name] = st.value
	}
	if maps.Equal(next, s.overlay) {
		return nil
	}
	if err := s.rememberBase(next); err != nil {
		return err
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(s.overlay)) {
		if _, ok := next[name]; ok {
			continue
		}
		parts = append(parts, name+" = "+s.baseValue(name))
	}
	if len(parts) > 0 {
		if err := s.run("SET " + strings.Join(parts, ", ")); err != nil {
			return fmt.Errorf("take back the settings of the last query: %w", err)
		}
		parts = parts[:0]
	}
	old := s.overlay
	s.overlay = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		if v, ok := old[name]; ok {
			s.overlay[name] = v
		}
		if v, ok := old[name]; !ok || v != next[name] {
			parts = append(parts, name+" = "+quote(next[name]))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	if err := s.run("SET " + strings.Join(parts, ", ")); err != nil {
		return err // SET is all or nothing: a name it did not know leaves the others as they were
	}
	s.overlay = next
	return nil
}

func (s *session) baseValue(name string) string {
	if name == "log_comment" {
		return quote(s.tag)
	}
	if v, ok := s.base[name]; ok {
		return quote(v)
	}
	return "DEFAULT"
}

// rememberBase reads what the client itself has SET the new settings to. Without a SET that is the default.
func (s *session) rememberBase(next map[string]string) error {
	if !s.userSet {
		return nil
	}
	var names []string
	for name := range next {
		if _, ok := s.overlay[name]; !ok {
			names = append(names, quote(name))
			delete(s.base, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	out, err := s.value("SELECT name, value FROM system.settings WHERE changed AND name IN ("+strings.Join(names, ",")+")", "TSVRaw", nil)
	if err != nil {
		return fmt.Errorf("read the session's settings: %w", err)
	}
	for line := range strings.Lines(out) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			s.base[name] = value
		}
	}
	return nil
}

// userStatement notes what a statement of the client does to the session. It is called before the statement runs.
func (s *session) userStatement(st statement) error {
	if err := forbidden(st.text); err != nil {
		return err
	}
	switch st.kind {
	case kindSet:
		// The client's SET must land on its own settings and not on those that came with the last query.
		if err := s.apply(nil); err != nil {
			return err
		}
		s.userSet, s.private = true, true
	case kindUse, kindTemp:
		s.private = true
	}
	if st.kind == kindOther || st.kind == kindTemp || st.kind == kindUse {
		s.srv.ddl.Add(1)
	}
	return nil
}

// query runs a statement that is no streamed SELECT and no INSERT with rows. The caller closes the result.
func (s *session) query(ctx context.Context, st statement, format string, params []libchdb.Param) (*libchdb.Result, error) {
	if err := s.userStatement(st); err != nil {
		return nil, err
	}
	defer s.watch(ctx)()
	r, err := s.conn.Query(st.text, format, params)
	if st.kind == kindOther || st.kind == kindTemp {
		s.srv.ddl.Add(1) // again: another session may have read a header while this ran
	}
	return r, s.cancelled(ctx, err)
}

// stream runs a SELECT and hands each part of its answer to emit, which must not keep it.
func (s *session) stream(ctx context.Context, st statement, format string, params []libchdb.Param, emit func(chunk []byte, stats libchdb.Stats) error) error {
	if err := forbidden(st.text); err != nil {
		return err
	}
	defer s.watch(ctx)()
	rows, err := s.conn.Stream(st.text, format, params)
	if err != nil {
		return s.cancelled(ctx, err)
	}
	defer rows.Close()
	for {
		part, err := rows.Next()
		if err != nil {
			return s.cancelled(ctx, err)
		}
		if part == nil {
			return s.cancelled(ctx, nil)
		}
		err = emit(part.Bytes(), part.Stats())
		part.Close()
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return s.cancelled(ctx, ctx.Err())
		}
	}
}

// cancelled replaces an error by the cancellation that caused it.
func (s *session) cancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return exceptionf(codeCancelled, "Query was cancelled: %v", context.Cause(ctx))
	}
	return err
}

// watch kills the session's running query when ctx ends. The returned function stops watching and waits.
func (s *session) watch(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-stop:
			return
		case <-ctx.Done():
		}
		// A query is in the list only once it runs, so one KILL may come too early.
		for wait := 5 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
			s.srv.kill(s.tag)
			select {
			case <-stop:
				return
			case <-time.After(wait):
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// header returns the columns an INSERT takes, in the order its rows must have.
func (s *session) header(st statement, params []libchdb.Param) ([]columnHead, error) {
	gen := s.srv.ddl.Load()
	key := st.target + "\x00" + st.columns
	if s.headersGen != gen || len(s.headers) >= maxCachedHeaders {
		s.headersGen = gen
		clear(s.headers)
	}
	if h, ok := s.headers[key]; ok {
		return h, nil
	}
	h, err := s.describeInsert(st, params)
	if err != nil {
		return nil, err
	}
	s.headers[key] = h
	return h, nil
}

func (s *session) describeInsert(st statement, params []libchdb.Param) ([]columnHead, error) {
	if err := forbidden(st.head); err != nil {
		return nil, err
	}
	plain, named := identifiers(st.columns)
	if st.columns != "" && !named { // an expression such as * EXCEPT (x)
		return s.describe("SELECT "+st.columns+" FROM "+st.target, params)
	}
	out, err := s.value("DESCRIBE TABLE "+st.target, "TSVRaw", params)
	if err != nil {
		return nil, err
	}
	all := describedColumns(out)
	var h []columnHead
	if st.columns == "" {
		for _, c := range all {
			if c.fill == "" || c.fill == "DEFAULT" {
				h = append(h, c.columnHead)
			}
		}
		return h, nil
	}
	for _, name := range plain {
		i := slices.IndexFunc(all, func(c describedColumn) bool { return c.name == name && c.fill != "ALIAS" && c.fill != "MATERIALIZED" })
		if i < 0 {
			return nil, &exception{code: 16, message: fmt.Sprintf("No such column %s in table %s. (NO_SUCH_COLUMN_IN_TABLE)", name, st.target)}
		}
		h = append(h, all[i].columnHead)
	}
	return h, nil
}

// describe returns the columns of a SELECT's answer.
func (s *session) describe(query string, params []libchdb.Param) ([]columnHead, error) {
	out, err := s.value("DESCRIBE TABLE ("+query+"\n)", "TSVRaw", params)
	if err != nil {
		return nil, err
	}
	var h []columnHead
	for _, c := range describedColumns(out) {
		h = append(h, c.columnHead)
	}
	return h, nil
}

type describedColumn struct {
	columnHead
	fill string // "", DEFAULT, MATERIALIZED, ALIAS or EPHEMERAL
}

// describedColumns reads the answer of DESCRIBE: name, type and kind of default are its first three fields.
func describedColumns(tsv string) []describedColumn {
	var out []describedColumn
	for line := range strings.Lines(tsv) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if len(f) < 3 {
			continue
		}
		out = append(out, describedColumn{columnHead: columnHead{name: f[0], typ: f[1]}, fill: f[2]})
	}
	return out
}

// quote writes a string literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\'', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case 0:
			b.WriteString(`\0`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

func quoteIdentifier(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

// validSetting reports whether a name can stand in a SET without quotes.
func validSetting(name string) bool {
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isWord(c) && c != '.' || c >= 0x80 {
			return false
		}
	}
	return true
}
