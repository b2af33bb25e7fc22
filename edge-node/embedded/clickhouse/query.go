package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// request is a decoded Query packet.
type request struct {
	id         string
	body       string
	settings   []setting
	params     []libchdb.Param
	compressed bool
}

// query reads a Query packet, runs it and answers. An error of the query is sent to the client and is not returned; an
// error that is returned ends the connection.
func (c *connection) query(ctx context.Context) error {
	req, err := c.readQuery()
	if err != nil {
		return unexpected(err)
	}
	scratch := make([]byte, 0, 4096)
	temporary, err := c.readExternalTables(req, &scratch)
	if err != nil {
		return unexpected(err)
	}
	runErr := c.run(ctx, req, temporary, &scratch)
	for _, table := range temporary {
		_ = c.ses.run("DROP TEMPORARY TABLE IF EXISTS " + quoteIdentifier(table.name))
	}
	if runErr == nil || isGone(runErr) {
		return runErr
	}
	var fatal *brokenStream
	if errors.As(runErr, &fatal) {
		return fatal.err
	}
	return c.sendException(asException(runErr))
}

// brokenStream marks an error after which the client's bytes cannot be told apart any more.
type brokenStream struct{ err error }

func (b *brokenStream) Error() string { return b.err.Error() }
func (b *brokenStream) Unwrap() error { return b.err }

func (c *connection) run(ctx context.Context, req *request, temporary []externalTable, scratch *[]byte) error {
	if err := c.ses.apply(req.settings); err != nil {
		return err
	}
	for _, t := range temporary {
		if err := c.createExternal(t); err != nil {
			return fmt.Errorf("external table %s: %w", t.name, err)
		}
	}
	st := parseStatement(req.body)
	switch st.kind {
	case kindEmpty:
		return exceptionf(codeSyntaxError, "Syntax error: Empty query")
	case kindMultiple:
		return exceptionf(codeSyntaxError, "Syntax error: Multi-statements are not allowed")
	case kindInsert:
		return c.insert(ctx, req, st, scratch)
	case kindSelect:
		return c.selectRows(ctx, req, st)
	}
	return c.command(ctx, req, st)
}

// readQuery decodes a Query packet after its code. Unlike ch-go's decoder it takes revisions before 54429 too, and
// bounds every length.
func (c *connection) readQuery() (*request, error) {
	req := &request{}
	in := c.in
	var err error
	if req.id, err = in.text(maxSmallText); err != nil {
		return nil, err
	}
	if req.id == "" {
		req.id = "weir-" + strconv.FormatUint(c.srv.queries.Add(1), 10)
	}
	if err := c.readClientInfo(); err != nil {
		return nil, fmt.Errorf("read client info: %w", err)
	}
	if req.settings, err = c.readSettings(); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if proto.FeatureInterServerSecret.In(c.revision) {
		if _, err := in.text(maxSmallText); err != nil {
			return nil, err
		}
	}
	if _, err := in.uvarint(); err != nil { // the stage: always the whole query
		return nil, err
	}
	compressed, err := in.uvarint()
	if err != nil {
		return nil, err
	}
	req.compressed = compressed != 0
	if req.body, err = in.text(maxQueryText); err != nil {
		return nil, err
	}
	if proto.FeatureParameters.In(c.revision) {
		if req.params, err = c.readParams(); err != nil {
			return nil, fmt.Errorf("read parameters: %w", err)
		}
	}
	c.compressor = compressorFor(req.settings, c.compressor)
	return req, nil
}

// compressorFor picks the method of the answers: LZ4 unless the client asks for ZSTD.
func compressorFor(settings []setting, now *compress.Writer) *compress.Writer {
	for _, s := range settings {
		if s.name == "network_compression_method" && strings.EqualFold(s.value, "ZSTD") {
			return compress.NewWriter(compress.LevelZero, compress.ZSTD)
		}
	}
	return now
}

// readClientInfo skips the client's description of itself.
func (c *connection) readClientInfo() error {
	in := c.in
	kind, err := in.byte()
	if err != nil || kind == 0 {
		return unexpected(err)
	}
	for range 3 { // initial user, query id, address
		if _, err := in.text(maxSmallText); err != nil {
			return err
		}
	}
	if proto.FeatureQueryStartTime.In(c.revision) {
		if _, err := in.uint64(); err != nil {
			return err
		}
	}
	iface, err := in.byte()
	if err != nil {
		return unexpected(err)
	}
	if proto.Interface(iface) != proto.InterfaceTCP {
		return exceptionf(codeBadArguments, "client info for interface %d on the native port", iface)
	}
	for range 3 { // os user, host, client name
		if _, err := in.text(maxSmallText); err != nil {
			return err
		}
	}
	for range 3 { // major, minor, revision
		if _, err := in.uvarint(); err != nil {
			return unexpected(err)
		}
	}
	if _, err := in.text(maxSmallText); err != nil { // quota key
		return err
	}
	if proto.FeatureDistributedDepth.In(c.revision) {
		if _, err := in.uvarint(); err != nil {
			return unexpected(err)
		}
	}
	if proto.FeatureVersionPatch.In(c.revision) {
		if _, err := in.uvarint(); err != nil {
			return unexpected(err)
		}
	}
	if proto.FeatureOpenTelemetry.In(c.revision) {
		if err := c.skipTrace(); err != nil {
			return err
		}
	}
	if proto.FeatureParallelReplicas.In(c.revision) {
		for range 3 {
			if _, err := in.uvarint(); err != nil {
				return unexpected(err)
			}
		}
	}
	return nil
}

func (c *connection) skipTrace() error {
	has, err := c.in.byte()
	if err != nil || has == 0 {
		return unexpected(err)
	}
	var ids [24]byte // trace id, span id
	if err := c.in.full(ids[:]); err != nil {
		return err
	}
	if _, err := c.in.text(maxSmallText); err != nil {
		return err
	}
	_, err = c.in.byte()
	return unexpected(err)
}

// readSettings reads settings up to an empty name. Since 54429 a value is a string; before, its type is that of the
// setting, which the server has to know.
func (c *connection) readSettings() ([]setting, error) {
	var out []setting
	for {
		name, err := c.in.text(maxSmallText)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return out, nil
		}
		if len(out) == maxSettings {
			return nil, exceptionf(codeBadArguments, "more than %d settings in one query", maxSettings)
		}
		s := setting{name: name}
		if proto.FeatureSettingsSerializedAsStrings.In(c.revision) {
			if _, err := c.in.uvarint(); err != nil { // flags
				return nil, unexpected(err)
			}
			if s.value, err = c.in.text(maxSmallText); err != nil {
				return nil, err
			}
			out = append(out, s)
			continue
		}
		integer, known := c.srv.settingIsInteger(name)
		if integer || !known {
			v, err := c.in.uvarint()
			if err != nil {
				return nil, unexpected(err)
			}
			s.value = strconv.FormatUint(v, 10)
		} else if s.value, err = c.in.text(maxSmallText); err != nil {
			return nil, err
		}
		if known { // an old client may send settings that are no more; they are left out, as its server had them
			out = append(out, s)
		}
	}
}

// settingIsInteger tells how a client before 54429 sends a setting.
func (s *Server) settingIsInteger(name string) (integer, known bool) {
	s.settingsOnce.Do(func() {
		s.controlMu.Lock()
		defer s.controlMu.Unlock()
		out, err := s.control.value("SELECT name, type IN ('Bool', 'UInt64', 'Int64', 'Seconds', 'Milliseconds', 'MaxThreads', "+
			"'NonZeroUInt64', 'UInt64Auto', 'BoolAuto') FROM system.settings", "TSVRaw", nil)
		if err != nil {
			return
		}
		s.settingsTypes = map[string]bool{}
		for line := range strings.Lines(out) {
			name, integer, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			s.settingsTypes[name] = integer == "1"
		}
	})
	integer, known = s.settingsTypes[name]
	return integer, known
}

// readParams reads query parameters. Their values come as the text of a string literal's field dump: 'value'.
func (c *connection) readParams() ([]libchdb.Param, error) {
	var out []libchdb.Param
	for {
		name, err := c.in.text(maxSmallText)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return out, nil
		}
		if len(out) == maxParams {
			return nil, exceptionf(codeBadArguments, "more than %d parameters in one query", maxParams)
		}
		if _, err := c.in.uvarint(); err != nil { // flags
			return nil, unexpected(err)
		}
		value, err := c.in.text(maxQueryText)
		if err != nil {
			return nil, err
		}
		out = append(out, libchdb.Param{Name: name, Value: unquoteValue(value)})
	}
}

// unquoteValue reads the string literal a parameter's value is wrapped in. Inside, the value has the engine's own
// escaping, which stays.
func unquoteValue(s string) string {
	if len(s) < 2 || s[0] != '\'' || s[len(s)-1] != '\'' {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
			b.WriteByte(unescape(s[i]))
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case '0':
		return 0
	}
	return c
}

// externalTable is a block a client sends along with a query, to be read as a temporary table.
type externalTable struct {
	name    string
	columns []columnHead
	blocks  [][]byte
}

const maxExternalTables = 64

// readExternalTables reads the Data packets between a query and the empty one that ends them.
func (c *connection) readExternalTables(req *request, scratch *[]byte) ([]externalTable, error) {
	var tables []externalTable
	total := 0
	for {
		code, err := c.in.uvarint()
		if err != nil {
			return nil, unexpected(err)
		}
		if proto.ClientCode(code) == proto.ClientCodeCancel {
			continue
		}
		if proto.ClientCode(code) != proto.ClientCodeData {
			return nil, exceptionf(codeUnexpectedPacket, "Unexpected packet %d from client instead of Data", code)
		}
		name, h, block, err := c.readBlock(req.compressed, scratch)
		if err != nil {
			return nil, err
		}
		if len(h.columns) == 0 {
			return tables, nil
		}
		total += len(block)
		if total > c.srv.cfg.MaxBlock || len(tables) > maxExternalTables {
			return nil, exceptionf(codeTooLargeBlock, "external tables of more than %d bytes", c.srv.cfg.MaxBlock)
		}
		if len(tables) == 0 || tables[len(tables)-1].name != name {
			tables = append(tables, externalTable{name: name, columns: h.columns})
		}
		if h.rows > 0 {
			last := &tables[len(tables)-1]
			last.blocks = append(last.blocks, append([]byte(nil), block...))
		}
	}
}

func (c *connection) createExternal(t externalTable) error {
	if t.name == "" {
		return exceptionf(codeBadArguments, "an external table without a name")
	}
	defs := make([]string, len(t.columns))
	for i, col := range t.columns {
		if _, err := parseShape(col.typ); err != nil { // also keeps a type from carrying SQL
			return err
		}
		defs[i] = quoteIdentifier(col.name) + " " + col.typ
	}
	err := c.ses.run("CREATE TEMPORARY TABLE " + quoteIdentifier(t.name) + " (" + strings.Join(defs, ", ") + ") ENGINE = Memory")
	if err != nil || len(t.blocks) == 0 {
		return err
	}
	ins, err := c.ses.conn.Insert("INSERT INTO "+quoteIdentifier(t.name), "Native", nil)
	if err != nil {
		return err
	}
	defer ins.Close()
	for _, b := range t.blocks {
		if err := ins.Append(b); err != nil {
			return err
		}
	}
	_, err = ins.Done()
	return err
}

// answer counts what goes to the client for its ProfileInfo and Progress packets.
type answer struct {
	rows, blocks, bytes uint64
	stats               libchdb.Stats
	started             time.Time
}

// finish ends a successful answer. The order matters to clients: profile, progress, empty block, end.
func (c *connection) finish(a *answer, hasRows, compressed bool) error {
	if hasRows {
		// Clients of 2018 crash on a profile that has not calculated its rows before LIMIT.
		proto.Profile{Rows: a.rows, Blocks: a.blocks, Bytes: a.bytes, RowsBeforeLimit: a.rows, CalculatedRowsBeforeLimit: true}.EncodeAware(&c.out, c.revision)
	}
	// They also reject Progress after an INSERT.
	if hasRows || proto.FeatureClientWriteInfo.In(c.revision) {
		proto.ServerCodeProgress.Encode(&c.out)
		proto.Progress{
			Rows: a.stats.RowsRead, Bytes: a.stats.BytesRead,
			WroteRows: a.stats.RowsWritten, WroteBytes: a.stats.BytesWritten,
			ElapsedNs: uint64(time.Since(a.started)),
		}.EncodeAware(&c.out, c.revision)
	}
	if hasRows {
		if err := c.flush(); err != nil {
			return err
		}
		if err := c.sendBlock(appendEmptyBlock(nil, nil, layoutOf(c.revision)), compressed); err != nil {
			return err
		}
	}
	proto.ServerCodeEndOfStream.Encode(&c.out)
	return c.flush()
}
