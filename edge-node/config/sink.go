package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// Sink is where the aggregates go.
type Sink struct {
	ClickHouse ClickHouse
	Spool      Spool
}

// Spool is what happens to what waits for ClickHouse on the node's disk (state_dir in node.yaml).
type Spool struct {
	// WhenFull is what happens when the disk is full. Default block.
	WhenFull WhenFull
	// Coarsest is how wide windows may become where WhenFull is coarsen, and 0 where it is not. Default: 64 windows, at most
	// MaxCoarsest.
	Coarsest time.Duration
}

// MaxCoarsest is the most that Coarsest can be.
const MaxCoarsest = 31 * 24 * time.Hour

// WhenFull is what happens when the local store is full and ClickHouse away.
type WhenFull string

// The policies.
const (
	WhenFullBlock WhenFull = "block"       // read no more
	WhenFullDrop  WhenFull = "drop_oldest" // give up the oldest windows
	// WhenFullCoarsen merges windows into wider ones, and blocks when they are as wide as may be.
	WhenFullCoarsen WhenFull = "coarsen"
)

const defaultFlush = 10 * time.Second

// defaultCoarsest is how many windows one may be merged of.
const defaultCoarsest = 64

// ClickHouse is a server and a table.
type ClickHouse struct {
	// URL is "clickhouse://user:password@host:9000/database". Empty means that of node.yaml.
	URL Secret
	// Table is the name of the finished view; the tables behind it are named after it. Default: the pipeline's name with _ for -.
	Table string
	// FlushEvery is how often changed windows are shipped. Default 10 s.
	FlushEvery time.Duration
	// TTL is how long rows are kept, counted from their window. 0 means for ever, the default.
	TTL time.Duration
	// Schema says whether a run may create and change tables. Default check.
	Schema SchemaMode
}

// SchemaMode is what a run does about tables.
type SchemaMode string

// The schema modes.
const (
	SchemaCheck SchemaMode = "check" // look, and refuse to start with the statements to run
	SchemaApply SchemaMode = "apply" // create what is missing
)

func sinkTable() object[Sink] {
	return object[Sink]{
		what: "sink",
		fields: []field[Sink]{
			at("clickhouse", clickhouseTable().kind(), func(s *Sink) *ClickHouse { return &s.ClickHouse }, "ClickHouse server and table.").must(),
			at("spool", spoolTable().kind(), func(s *Sink) *Spool { return &s.Spool },
				"What happens to what waits for ClickHouse on the node's disk (state_dir in node.yaml)."),
		},
	}
}

func spoolTable() object[Spool] {
	return object[Spool]{
		what: "sink.spool",
		fields: []field[Spool]{
			at("when_full", enum("a policy", []WhenFull{WhenFullBlock, WhenFullCoarsen, WhenFullDrop}), func(s *Spool) *WhenFull { return &s.WhenFull },
				"When the local store is full and ClickHouse away. block: read no more, Kafka keeps the records; "+
					"coarsen: merge closed windows into wider ones, as weir_coverage says, and block when they are as wide as may be; "+
					"drop_oldest: give up the oldest windows that are closed, counted in weir_coverage. Default block."),
			at("coarsest", durationKind(2*time.Millisecond, MaxCoarsest), func(s *Spool) *time.Duration { return &s.Coarsest },
				"How wide windows may become with when_full: coarsen, which doubles their length. Default: 64 windows, at most 31d."),
			later[Spool]("max", "limits.disk in node.yaml bounds what all pipelines of a node keep"),
		},
	}
}

// checkSpool finds out whether windows can be merged where they should be.
func (p *Pipeline) checkSpool(add func(Pos, string, string, ...any) *Error) {
	s, w := &p.Sink.Spool, &p.Window
	const key, coarsest = "sink.spool.when_full", "sink.spool.coarsest"
	if w.Session != nil && s.WhenFull != WhenFullBlock {
		_ = add(p.At(key), key, "%s: sessions are neither given up nor merged: those that begin together do not end together", key).WithHint("leave it out: a node whose disk is full reads no more until there is room")
		return
	}
	if w.Count != nil && s.WhenFull != WhenFullBlock {
		_ = add(p.At(key), key, "%s: windows of so many rows are neither given up nor merged: those that begin together do not end together", key).WithHint("leave it out: a node whose disk is full reads no more until there is room")
		return
	}
	if s.WhenFull != WhenFullCoarsen {
		if s.Coarsest != 0 {
			_ = add(p.At(coarsest), coarsest, "%s: it is about when_full: coarsen, and when_full is %s", coarsest, s.WhenFull).WithHint("leave it out")
		}
		return
	}
	const hint = "use block or drop_oldest"
	switch {
	case w.Calendar != nil:
		_ = add(p.At(key), key, "%s: windows of the calendar cannot be merged into wider ones: they are not of one length", key).WithHint(hint)
	case w.MaxKeys > 0:
		_ = add(p.At(key), key, "%s: windows with max_keys cannot be merged into wider ones: a key may be kept apart in one of them, and not in the other", key).WithHint(hint)
	case w.Every < w.Size:
		_ = add(p.At(key), key, "%s: hopping windows cannot be merged into wider ones: a row is in several of them", key).WithHint(hint)
	case 2*w.Size > MaxCoarsest:
		_ = add(p.At(key), key, "%s: windows of %s cannot become twice as wide: %s is the most", key, FormatDuration(w.Size), FormatDuration(MaxCoarsest)).WithHint(hint)
	case s.Coarsest != 0 && s.Coarsest < 2*w.Size:
		_ = add(p.At(coarsest), coarsest, "%s: %s is not twice the length of a window, %s", coarsest, FormatDuration(s.Coarsest), FormatDuration(w.Size)).
			WithHint("at least %s", FormatDuration(2*w.Size))
	}
	for _, a := range w.Aggregates {
		if a.Wasm != nil {
			_ = add(p.At(key), key, "%s: windows cannot be merged into wider ones: a node does not merge the states of aggregates of your own, such as %s", key, a.Name).WithHint(hint)
			break
		}
	}
}

const tableName = `^[A-Za-z][A-Za-z0-9_]{0,99}$`

var tableNameRE = regexp.MustCompile(tableName)

func clickhouseTable() object[ClickHouse] {
	return object[ClickHouse]{
		what: "sink.clickhouse",
		fields: []field[ClickHouse]{
			at("url", clickhouseURL(), func(c *ClickHouse) *Secret { return &c.URL },
				"clickhouse://user:password@host:9000/database. Default: that of node.yaml."),
			at("table", matching("a table name", tableName, func(s string) error {
				if tableNameRE.MatchString(s) {
					return nil
				}
				return fmt.Errorf("%s is not a table name: use letters, digits and _, beginning with a letter, at most 100; the database is part of the url", quote(s))
			}), func(c *ClickHouse) *string { return &c.Table }, "Name of the finished view. Default: the pipeline's name with _ for -."),
			at("flush_every", durationKind(100*time.Millisecond, 24*time.Hour), func(c *ClickHouse) *time.Duration { return &c.FlushEvery },
				"How often changed windows are shipped. Default 10s."),
			at("ttl", durationKind(time.Hour, 0), func(c *ClickHouse) *time.Duration { return &c.TTL },
				"How long rows are kept, counted from their window. Default: for ever."),
			at("schema", enum("a schema mode", []SchemaMode{SchemaCheck, SchemaApply}), func(c *ClickHouse) *SchemaMode { return &c.Schema },
				"check: refuse to start when tables are missing or differ, and say what to run; apply: create them. Default check."),
		},
	}
}

func clickhouseURL() kind[Secret] {
	return kind[Secret]{typed("string"), func(r *reader, v value, to *Secret) bool {
		t, ok := r.text(v, "a URL such as clickhouse://user@host:9000/database")
		if !ok {
			return false
		}
		if err := CheckClickHouseURL(t.Value); err != nil {
			r.failf(v, "%v", err)
			return false
		}
		*to = NewSecret(t.Value)
		return true
	}}
}

// CheckClickHouseURL tells what is wrong with a ClickHouse URL, without showing it: it may hold a password.
func CheckClickHouseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("not a URL: write it like clickhouse://user:password@host:9000/database, with special characters of the password as %%XX")
	}
	switch u.Scheme {
	case "clickhouse", "tcp", "native", "http", "https":
	case "":
		return fmt.Errorf("the URL has no scheme: write it like clickhouse://user:password@host:9000/database")
	default:
		return fmt.Errorf("the URL must begin with clickhouse://, http:// or https://, not %s://", u.Scheme)
	}
	if u.Host == "" || u.Hostname() == "" {
		return fmt.Errorf("the URL names no host: write it like clickhouse://user:password@host:9000/database")
	}
	native := u.Scheme[0] != 'h'
	params := u.Query()
	secure, _ := strconv.ParseBool(params.Get("secure")) // false where it is neither
	secure = secure || params.Has("secure") && params.Get("secure") == ""
	switch _, port, _ := net.SplitHostPort(u.Host); {
	case native && port == "8123":
		return fmt.Errorf("8123 is the HTTP port of ClickHouse: clickhouse:// speaks the native protocol, usually on port 9000")
	case !native && port == "9000":
		return fmt.Errorf("9000 is the native port of ClickHouse: write clickhouse://, or the HTTP port, usually 8123")
	case !native && secure != (u.Scheme == "https"):
		return fmt.Errorf("https:// and secure=true go together: write https://user:password@host:8443/database?secure=true for TLS, http://user:password@host:8123/database without")
	case native && !secure && port == "9440":
		return fmt.Errorf("9440 is the port of ClickHouse for TLS: write clickhouse://user:password@host:9440/database?secure=true, or the port without, usually 9000")
	}
	return nil
}
