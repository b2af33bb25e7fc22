package clickhouse

import (
	"compress/gzip"
	"compress/zlib"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-stream/weir/edge-node/embedded/libchdb"
)

// errTruncated is an end of input inside a compressed body, which is not the end of the rows.
var errTruncated = errors.New("the compressed body ends too early")

func isTruncated(err error) bool { return errors.Is(err, errTruncated) }

// decodeBody undoes the request's Content-Encoding and ClickHouse's own framing (decompress=1).
func decodeBody(r *http.Request, q url.Values) (io.ReadCloser, error) {
	if r.Method != http.MethodPost || r.Body == nil {
		return io.NopCloser(strings.NewReader("")), nil
	}
	var body io.Reader = r.Body
	var err error
	switch encoding := strings.ToLower(r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		body, err = gzip.NewReader(r.Body)
	case "deflate":
		body, err = zlib.NewReader(r.Body)
	case "br":
		body = brotli.NewReader(r.Body)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20)); err == nil {
			body = d.IOReadCloser()
		}
	default:
		return nil, exceptionf(codeBadArguments, "Content-Encoding %q is not supported; use gzip, deflate, br or zstd", clip(encoding, 40))
	}
	if err != nil {
		return nil, exceptionf(codeIncorrectData, "the request's compressed body cannot be read: %v", err)
	}
	if body != io.Reader(r.Body) {
		body = &whole{body}
	}
	if q.Get("decompress") == "1" {
		body = &framedBody{in: newInput(body)}
	}
	return struct {
		io.Reader
		io.Closer
	}{body, r.Body}, nil
}

// whole tells a truncated compressed body from a complete one: io.ReadFull gives the same error for both.
type whole struct{ r io.Reader }

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errTruncated
	}
	return n, err
}

// framedBody reads ClickHouse's compressed frames up to the end of the body.
type framedBody struct {
	in *input
	r  *compress.Reader
}

func (f *framedBody) Read(p []byte) (int, error) {
	if f.r == nil {
		f.r = compress.NewReader(f.in)
	}
	n, err := f.r.Read(p)
	switch {
	case err == nil || n > 0:
		return n, nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, errTruncated
	case errors.Is(err, io.EOF):
		return 0, io.EOF
	}
	return 0, err
}

// heldBack is how much of an answer waits before its head is sent, so that an early failure still gets its status.
const heldBack = 64 << 10

// webWriter writes an answer: it holds the first bytes back, and compresses as the client asked.
type webWriter struct {
	w        http.ResponseWriter
	wait     bool // hold everything back
	held     []byte
	sent     bool
	err      error
	encoding string
	enc      io.WriteCloser
	tag      string // marks an exception inside the body
	scratch  []byte
}

// maxHeld bounds what wait_end_of_query keeps in memory.
const maxHeld = 256 << 20

func newWebWriter(w http.ResponseWriter, r *http.Request, q url.Values, wait bool) *webWriter {
	out := &webWriter{w: w, wait: wait}
	if q.Get("compress") == "1" {
		out.encoding = "clickhouse"
	} else if q.Get("enable_http_compression") == "1" {
		accept := strings.ToLower(r.Header.Get("Accept-Encoding"))
		for _, e := range []string{"zstd", "br", "gzip", "deflate"} {
			if strings.Contains(accept, e) {
				out.encoding = e
				break
			}
		}
	}
	return out
}

// format sets the head's fields that follow from the output format.
func (o *webWriter) format(format string) {
	h := o.w.Header()
	h.Set("X-ClickHouse-Format", format)
	h.Set("Content-Type", contentType(format))
}

func contentType(format string) string {
	switch format {
	case "TabSeparated", "TSV", "TabSeparatedWithNames", "TSVWithNames", "TabSeparatedWithNamesAndTypes", "TSVWithNamesAndTypes":
		return "text/tab-separated-values; charset=UTF-8"
	case "CSV":
		return "text/csv; charset=UTF-8; header=absent"
	case "CSVWithNames", "CSVWithNamesAndTypes":
		return "text/csv; charset=UTF-8; header=present"
	case "JSON", "JSONCompact", "JSONStrings", "JSONColumns", "JSONColumnsWithMetadata", "JSONCompactStrings":
		return "application/json; charset=UTF-8"
	case "JSONEachRow", "JSONLines", "NDJSON", "JSONCompactEachRow":
		return "application/x-ndjson; charset=UTF-8"
	case "XML":
		return "application/xml; charset=UTF-8"
	case "Native", "RowBinary", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes", "Arrow", "ArrowStream", "Parquet", "ORC", "Avro":
		return "application/octet-stream"
	}
	return "text/plain; charset=UTF-8"
}

// summary sets the counters, as long as the head is not sent.
func (o *webWriter) summary(stats libchdb.Stats, bytes int, started time.Time) {
	if !o.sent {
		o.w.Header().Set("X-ClickHouse-Summary", summaryJSON(stats, bytes, started))
	}
}

func (o *webWriter) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if !o.sent && len(o.held)+len(p) <= heldBack || o.wait && !o.sent {
		if len(o.held)+len(p) > maxHeld {
			return 0, exceptionf(codeBadArguments, "the answer is larger than the %d bytes that wait_end_of_query holds back", maxHeld)
		}
		o.held = append(o.held, p...)
		return len(p), nil
	}
	o.open()
	if _, err := o.enc.Write(p); err != nil {
		o.err = fmt.Errorf("write to the client: %w", err)
		return 0, o.err
	}
	return len(p), nil
}

// open sends the head and what was held back.
func (o *webWriter) open() {
	if o.sent {
		return
	}
	o.sent = true
	h := o.w.Header()
	switch o.encoding {
	case "clickhouse":
		o.enc = &frameWriter{w: o.w, c: compress.NewWriter(compress.LevelZero, compress.LZ4)}
	case "gzip":
		o.enc, _ = gzip.NewWriterLevel(o.w, gzip.BestSpeed)
	case "deflate":
		o.enc, _ = zlib.NewWriterLevel(o.w, zlib.BestSpeed)
	case "br":
		o.enc = brotli.NewWriterLevel(o.w, brotli.BestSpeed)
	case "zstd":
		o.enc, _ = zstd.NewWriter(o.w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	default:
		o.enc = plain{o.w}
	}
	o.tag = rand.Text()[:16]
	h.Set("X-ClickHouse-Exception-Tag", o.tag)
	if o.encoding != "" && o.encoding != "clickhouse" {
		h.Set("Content-Encoding", o.encoding)
	}
	o.w.WriteHeader(http.StatusOK)
	if len(o.held) > 0 {
		if _, err := o.enc.Write(o.held); err != nil {
			o.err = fmt.Errorf("write to the client: %w", err)
		}
		o.held = nil
	}
}

func (o *webWriter) close() {
	o.open()
	if o.err == nil {
		o.err = o.enc.Close()
	}
}

// fail reports an error: with its own status when nothing was sent, else inside the body, which is then cut off so that
// no client takes it for whole.
func (o *webWriter) fail(s *Server, e *exception) {
	if !o.sent {
		o.w.Header().Del("X-ClickHouse-Format")
		s.webError(o.w, e)
		return
	}
	if o.err == nil {
		// CRLF marker CRLF tag CRLF message LF length SP tag CRLF marker CRLF, as the servers of 2025 and later frame it.
		text := s.errorText(e)
		_, _ = fmt.Fprintf(o.enc, "\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n", o.tag, text, len(text), o.tag)
		_ = o.enc.Close()
		_ = http.NewResponseController(o.w).Flush()
	}
	panic(http.ErrAbortHandler) // net/http's way to drop the connection without the closing chunk
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// frameWriter writes ClickHouse's compressed frames.
type frameWriter struct {
	w    io.Writer
	c    *compress.Writer
	held []byte
}

func (f *frameWriter) Write(p []byte) (int, error) {
	f.held = append(f.held, p...)
	for len(f.held) >= frameSize {
		if err := f.frame(f.held[:frameSize]); err != nil {
			return 0, err
		}
		f.held = append(f.held[:0], f.held[frameSize:]...)
	}
	return len(p), nil
}

func (f *frameWriter) frame(p []byte) error {
	if err := f.c.Compress(p); err != nil {
		return err
	}
	_, err := f.w.Write(f.c.Data)
	return err
}

func (f *frameWriter) Close() error {
	if len(f.held) == 0 {
		return nil
	}
	return f.frame(f.held)
}
