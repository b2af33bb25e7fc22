package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/weir-stream/weir/sink"
)

// Config says where a pipeline's answers go. Printed or logged, it does not show the URL's password.
type Config struct {
	// URL is a DSN of clickhouse-go: clickhouse://user:password@host:9000/database, or http(s)://host:8123/database.
	// It holds the password.
	URL string
	// Database is where the tables are. Empty: the URL's path, and "default" where that is empty too.
	Database string
	// Table is the name of the finished view; the table behind it is <Table>_partials.
	Table string
	// TTL drops windows that ended longer ago. 0 keeps them for ever.
	TTL time.Duration
	// DeadLetterTTL drops dead letters that arrived longer ago. 0 keeps them for ever.
	DeadLetterTTL time.Duration
	// InsertTag becomes part of the deduplication token of every insert. A server drops an insert whose token it knows even where
	// the rows are gone meanwhile; another tag makes it a new one.
	InsertTag string
	// NoUsage leaves the table of usage out: nothing calls WriteUsage.
	NoUsage bool
	// Conn is given every connection, before TLS, and returns what is used instead; nil uses it as it is.
	Conn func(net.Conn) net.Conn
	// DialTimeout is how long a connection may take. Default 5s.
	DialTimeout time.Duration
	// QueryTimeout is how long a statement that is not an insert may take. Default 30s.
	QueryTimeout time.Duration
	// InsertTimeout is how long one insert may take, its acknowledgement included. Default 60s.
	InsertTimeout time.Duration
	// ReceiveTimeout is for how long the server waits for the rest of an insert, in whole seconds: a process that was stopped in
	// the middle of one must not complete it when others have its partitions. So it is at most what is left of a session when
	// its lease runs out. Default 15s.
	ReceiveTimeout time.Duration
	// MaxInsertRows is how many rows one insert has at most. One insert is one block, so that it is stored as a whole
	// or not at all. Default 50000, at most 500000.
	MaxInsertRows int
	// MaxInsertDays is how many days of windows one insert spans at most: each day is a partition of the table, and
	// servers refuse inserts into more than 100. Default 50.
	MaxInsertDays int
	// Lease must be held whenever a statement of Write is sent; nil is one that never runs out.
	Lease sink.Lease
}

const (
	defaultDialTimeout   = 5 * time.Second
	defaultQueryTimeout  = 30 * time.Second
	defaultInsertTimeout = 60 * time.Second
	defaultReceive       = 15 * time.Second
	defaultInsertRows    = 50_000
	maxInsertRows        = 500_000
	defaultInsertDays    = 50
	maxInsertDays        = 100
	maxInsertBytes       = 64 << 20 // of column data in one insert; bounds the memory of a write
	encodeBuffer         = 1 << 20  // columns of a block are compressed and sent when they are about as many bytes; the client's own default is 10 MiB
)

// name is what a table, database or column may be called. Quoting would allow more, but dots mean nested columns to
// ClickHouse, and other tools of the analyst choke on the rest.
var name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,127}$`)

// databaseName also takes the dashes and the leading underscore that hosted services use.
var databaseName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,127}$`)

// options fills in defaults and turns the configuration into the client's. The Config it returns is complete.
func (c Config) options() (Config, *clickhouse.Options, error) {
	if c.URL == "" {
		return c, nil, errors.New("no ClickHouse URL: give clickhouse://user:password@host:9000/database")
	}
	opt, err := clickhouse.ParseDSN(c.URL)
	if err != nil {
		return c, nil, fmt.Errorf("parse the ClickHouse URL: %w", withoutURL(err, c.URL))
	}
	switch scheme, _, _ := strings.Cut(c.URL, "://"); scheme {
	case "clickhouse", "tcp", "native", "http", "https":
	default:
		return c, nil, fmt.Errorf("the ClickHouse URL starts with %q: use clickhouse://, http:// or https://", scheme)
	}
	if c.Database == "" {
		c.Database = opt.Auth.Database
	}
	if c.Database == "" {
		c.Database = "default"
	}
	// Statements name the database themselves: connecting to one that is not there yet would fail.
	opt.Auth.Database = ""

	if !databaseName.MatchString(c.Database) {
		return c, nil, fmt.Errorf("database %q: use letters, digits, _ and -", c.Database)
	}
	if !name.MatchString(c.Table) {
		return c, nil, fmt.Errorf("table %q: use a letter, then letters, digits and _", c.Table)
	}
	for _, d := range []struct {
		what  string
		value *time.Duration
		def   time.Duration
	}{
		{"dial timeout", &c.DialTimeout, defaultDialTimeout},
		{"query timeout", &c.QueryTimeout, defaultQueryTimeout},
		{"insert timeout", &c.InsertTimeout, defaultInsertTimeout},
		{"receive timeout", &c.ReceiveTimeout, defaultReceive},
		{"ttl", &c.TTL, 0},
		{"dead letter ttl", &c.DeadLetterTTL, 0},
	} {
		if *d.value < 0 {
			return c, nil, fmt.Errorf("%s %s: it may not be negative", d.what, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	for _, n := range []struct {
		what     string
		value    *int
		def, max int
	}{
		{"max insert rows", &c.MaxInsertRows, defaultInsertRows, maxInsertRows},
		{"max insert days", &c.MaxInsertDays, defaultInsertDays, maxInsertDays},
	} {
		if *n.value == 0 {
			*n.value = n.def
		}
		if *n.value < 1 || *n.value > n.max {
			return c, nil, fmt.Errorf("%s %d: it must be 1 to %d", n.what, *n.value, n.max)
		}
	}

	opt.DialTimeout = c.DialTimeout
	if c.Conn != nil {
		opt.DialContext = c.dial(opt)
	}
	opt.ReadTimeout = max(c.InsertTimeout, c.QueryTimeout)
	if opt.Compression == nil {
		opt.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	if opt.MaxCompressionBuffer == 0 {
		opt.MaxCompressionBuffer = encodeBuffer
	}
	// Delivery writes from one goroutine; a check or an audit may run beside it.
	opt.MaxOpenConns, opt.MaxIdleConns = 4, 1
	opt.FreeBufOnConnRelease = true        // a flush every few seconds is no reason to hold its memory in between
	opt.ConnMaxLifetime = 10 * time.Minute // so that a new address of the server is found
	opt.ClientInfo.Products = append(opt.ClientInfo.Products, struct{ Name, Version string }{"weir", "1"})
	return c, opt, nil
}

// dial makes connections that are given to Conn.
func (c Config) dial(opt *clickhouse.Options) func(context.Context, string) (net.Conn, error) {
	native := opt.Protocol == clickhouse.Native
	return func(ctx context.Context, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{Timeout: c.DialTimeout}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		conn := c.Conn(raw)
		if opt.TLS == nil || !native {
			return conn, nil // over HTTP, TLS comes on top of what is returned
		}
		cfg := opt.TLS.Clone()
		if cfg.ServerName == "" {
			if cfg.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				_ = raw.Close()
				return nil, err
			}
		}
		secure := tls.Client(conn, cfg)
		ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
		defer cancel()
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return secure, nil
	}
}

// withoutURL is the error without the text of the URL, which the client sometimes quotes and which may hold a password.
func withoutURL(err error, raw string) error {
	var u *url.Error
	if errors.As(err, &u) && u.Err != nil {
		err = u.Err
	}
	msg := err.Error()
	if strings.Contains(msg, raw) {
		msg = "it is malformed"
	}
	if u, perr := url.Parse(raw); perr == nil {
		if p, ok := u.User.Password(); ok && p != "" && strings.Contains(msg, p) {
			msg = "it is malformed"
		}
	} else {
		// Nothing can be told apart in it, so nothing of it is shown.
		msg = "it is malformed; percent-encode the user name and the password"
	}
	return errors.New(msg)
}

// Target is the server and database without user and password, for messages.
func (c Config) Target() string {
	opt, err := clickhouse.ParseDSN(c.URL)
	if err != nil {
		return "(malformed URL)"
	}
	return strings.Join(opt.Addr, ",")
}

// String shows the configuration without its URL.
func (c Config) String() string {
	return fmt.Sprintf("clickhouse %s database %q table %q", c.Target(), c.Database, c.Table)
}

// GoString is String: %#v must not show the password either.
func (c Config) GoString() string { return c.String() }

// LogValue is String for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }
