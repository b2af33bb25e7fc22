package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/weir-stream/weir/operators/calendar"
	"github.com/weir-stream/weir/sink/uplink"
)

// Node is what belongs to the box and not to a pipeline: node.yaml, with environment variables over it.
type Node struct {
	// Site is the site's name, part of the identity of every row shipped. Default "local": a constant and not the host's
	// name, because a container's new host name would make its replayed rows those of another site.
	Site string
	// Node is the node's name, for people. Default: the host's name.
	Node string
	// Listen is the address of metrics and health. Default 127.0.0.1:9464.
	Listen string
	// Log is how logs look.
	Log Log
	// Kafka is used by pipelines that name no brokers.
	Kafka NodeKafka
	// ClickHouse is used by pipelines that name no URL.
	ClickHouse NodeClickHouse
	// UsageEvery is how often what the steps of pipelines use is stored in ClickHouse. 0 is never. Default 1 minute.
	UsageEvery time.Duration
	// WasmCache is the folder that keeps compiled Wasm modules from one start to the next. Empty means memory alone.
	WasmCache string
	// IdleAfter is after how long without records the operators of a pipeline give up their memory, until there are some
	// again. 0 is never. Default 1 minute.
	IdleAfter time.Duration
	// StateDir is the folder of the local store, where open windows and what waits for ClickHouse are kept. Empty means
	// that a restart reads open windows again from Kafka.
	StateDir string
	// Uplink is the budget of the link to ClickHouse.
	Uplink Uplink
	// Limits bound what the node uses.
	Limits NodeLimits
}

// Log is how logs look.
type Log struct {
	// Level is the lowest level that is written. Default info.
	Level LogLevel
	// Format is text, json, or auto: text on a terminal, json elsewhere. Default auto.
	Format LogFormat
}

// Uplink is the budget of the link to ClickHouse, for all pipelines of the node together.
type Uplink struct {
	// Rate is how many bytes a second go over the wire on average, both ways. 0 is no bound, the default.
	Rate int64
	// Hours are when something is shipped. None means always. Outside of them cuts are only kept in StateDir.
	Hours []uplink.Hours
	// Zone is the time zone of Hours.
	Zone *time.Location
}

func uplinkTable() object[Uplink] {
	return object[Uplink]{
		what: "uplink",
		fields: []field[Uplink]{
			at("rate", sizeKind(1<<10, 1<<40), func(u *Uplink) *int64 { return &u.Rate },
				"Bytes a second over the wire to ClickHouse, both ways, on average. Default: no bound."),
			at("hours", listOf("a list of hours", hoursKind()), func(u *Uplink) *[]uplink.Hours { return &u.Hours },
				"When something is shipped, such as 22:00-06:00; otherwise it is kept in state_dir. Default: always."),
			at("timezone", locationKind(), func(u *Uplink) **time.Location { return &u.Zone }, "IANA name of the time zone of the hours, such as Europe/Berlin, or UTC. Its rules are part of weir."),
		},
		check: func(r *reader, v value, u *Uplink) {
			if (len(u.Hours) > 0) != (u.Zone != nil) {
				_ = r.failf(v, "hours and timezone go together").WithHint("write timezone: UTC, or the zone of the people who pay for the link")
			}
		},
	}
}

func hoursKind() kind[uplink.Hours] {
	return kind[uplink.Hours]{typed("string"), func(r *reader, v value, to *uplink.Hours) bool {
		t, ok := r.text(v, "hours such as 22:00-06:00")
		if !ok {
			return false
		}
		h, err := uplink.ParseHours(t.Value)
		if err != nil {
			r.failf(v, "%v", err)
			return false
		}
		*to = h
		return true
	}}
}

// locationKind is a time zone for the clock of the node. Its rules are weir's, so that it is known on machines that have none.
func locationKind() kind[*time.Location] {
	zone := calendarZoneKind()
	return kind[*time.Location]{zone.schema, func(r *reader, v value, to **time.Location) bool {
		var z *calendar.Zone
		if !zone.read(r, v, &z) {
			return false
		}
		*to = z.Location()
		return true
	}}
}

// LogLevel is a level of logs.
type LogLevel string

// The levels.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// LogFormat is a form of logs.
type LogFormat string

// The formats.
const (
	LogAuto LogFormat = "auto"
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// NodeKafka is the node's broker.
type NodeKafka struct {
	Brokers []string
	SASL    *SASL
	TLS     *TLS
}

// NodeClickHouse is the node's ClickHouse.
type NodeClickHouse struct {
	URL Secret
}

// NodeLimits bound what the node uses.
type NodeLimits struct {
	// State is the most bytes of window state that a pipeline holds over all its partitions. Where open windows need more, partitions
	// begin their next segments early, or the pipeline stops where windows must not be in parts. Default 256 MiB.
	State int64
	// Queue is about how many bytes of records that were read wait for a pipeline. When there are more, reading pauses.
	// Default 32 MiB.
	Queue int64
	// Disk is how many bytes the local store may take. When it is full, pipelines whose ClickHouse is away read no more until
	// it is back. Default 2 GiB.
	Disk int64
}

const siteName = `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`

var siteNameRE = regexp.MustCompile(siteName)

func nameKind(what string) kind[string] {
	return matching("a "+what+" name", siteName, func(s string) error {
		if siteNameRE.MatchString(s) {
			return nil
		}
		return fmt.Errorf("%s is not a %s name: use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 128", quote(s), what)
	})
}

func listenKind() kind[string] {
	return matching("an address", "", func(s string) error {
		_, err := hostPort(s, "9464")
		return err
	})
}

func logLevelKind() kind[LogLevel] {
	return enum("a log level", []LogLevel{LogDebug, LogInfo, LogWarn, LogError})
}

func logFormatKind() kind[LogFormat] {
	return enum("a log format", []LogFormat{LogAuto, LogText, LogJSON})
}

func nodeLimitKind() kind[int64] { return sizeKind(1<<20, 1<<40) }

// usageKind is how often usage is shipped: 0, or an interval that is a small part of the hour it is booked on.
func usageKind() kind[time.Duration] { return orNever(10 * time.Minute) }

func idleKind() kind[time.Duration] { return orNever(24 * time.Hour) }

// orNever is a span from a second up, or 0 for never.
func orNever(most time.Duration) kind[time.Duration] {
	k := durationKind(0, most)
	return kind[time.Duration]{k.schema, func(r *reader, v value, to *time.Duration) bool {
		if !k.read(r, v, to) {
			return false
		}
		if *to > 0 && *to < time.Second {
			_ = r.failf(v, "%s is too short", *to).WithHint("at least 1s, or 0 for never")
			return false
		}
		return true
	}}
}

func nodeTable() object[Node] {
	return object[Node]{
		what: "node.yaml",
		fields: []field[Node]{
			at("site", nameKind("site"), func(n *Node) *string { return &n.Site },
				"Name of the site, part of the identity of every row shipped: one for each Kafka cluster. Default local. WEIR_SITE."),
			at("node", nameKind("node"), func(n *Node) *string { return &n.Node }, "Name of the node. Default: the host's. WEIR_NODE."),
			at("listen", listenKind(), func(n *Node) *string { return &n.Listen }, "Address of metrics and health. Default 127.0.0.1:9464. WEIR_LISTEN."),
			at("log", object[Log]{what: "log", fields: []field[Log]{
				at("level", logLevelKind(), func(l *Log) *LogLevel { return &l.Level }, "Lowest level that is written. Default info. WEIR_LOG_LEVEL."),
				at("format", logFormatKind(), func(l *Log) *LogFormat { return &l.Format },
					"text, json, or auto: text on a terminal, json elsewhere. Default auto. WEIR_LOG_FORMAT."),
			}}.kind(), func(n *Node) *Log { return &n.Log }, "How logs look."),
			at("kafka", object[NodeKafka]{what: "kafka", fields: []field[NodeKafka]{
				at("brokers", brokersKind(), func(k *NodeKafka) *[]string { return &k.Brokers }, "Brokers of pipelines that name none. WEIR_KAFKA."),
				at("sasl", saslTable().pointer(func() SASL { return SASL{} }), func(k *NodeKafka) **SASL { return &k.SASL }, "How to log in to them."),
				at("tls", tlsKind(), func(k *NodeKafka) **TLS { return &k.TLS }, "true, or how to encrypt and whom to trust."),
			}}.kind(), func(n *Node) *NodeKafka { return &n.Kafka }, "Broker of pipelines that name none."),
			at("clickhouse", object[NodeClickHouse]{what: "clickhouse", fields: []field[NodeClickHouse]{
				at("url", clickhouseURL(), func(c *NodeClickHouse) *Secret { return &c.URL }, "ClickHouse of pipelines that name none. WEIR_CLICKHOUSE."),
			}}.kind(), func(n *Node) *NodeClickHouse { return &n.ClickHouse }, "ClickHouse of pipelines that name none."),
			at("usage_every", usageKind(), func(n *Node) *time.Duration { return &n.UsageEvery },
				"How often what the steps of pipelines use is stored in weir_usage; 0 for never. Default 1m. WEIR_USAGE_EVERY."),
			at("wasm_cache", fileKind("a folder"), func(n *Node) *string { return &n.WasmCache },
				"Folder that keeps compiled operators from one start to the next; this user's alone, checked before use. Default: none. WEIR_WASM_CACHE."),
			at("idle_after", idleKind(), func(n *Node) *time.Duration { return &n.IdleAfter },
				"After how long without records operators give up their memory, until there are some again; 0 for never. Default 1m. WEIR_IDLE_AFTER."),
			at("state_dir", fileKind("a folder"), func(n *Node) *string { return &n.StateDir },
				"Folder that keeps open windows and what waits for ClickHouse, so that a restart goes on at once and an outage takes disk instead of memory. "+
					"One process uses it. Default: none; then Kafka is read again. WEIR_STATE_DIR."),
			at("uplink", uplinkTable().kind(), func(n *Node) *Uplink { return &n.Uplink },
				"Budget of the link to ClickHouse, for all pipelines of the node together."),
			at("limits", object[NodeLimits]{what: "limits", fields: []field[NodeLimits]{
				at("state", nodeLimitKind(), func(l *NodeLimits) *int64 { return &l.State },
					"Most window state of a pipeline, over all its partitions. Where open windows need more, a partition begins its next segment early; a pipeline whose windows must not be in parts stops. Default 256MiB. WEIR_STATE."),
				at("queue", nodeLimitKind(), func(l *NodeLimits) *int64 { return &l.Queue },
					"Records that were read and wait for a pipeline; when there are more, reading pauses. Default 32MiB. WEIR_QUEUE."),
				at("disk", nodeLimitKind(), func(l *NodeLimits) *int64 { return &l.Disk },
					"Most disk of state_dir; when it is full and ClickHouse away, reading pauses. Default 2GiB. WEIR_DISK."),
			}}.kind(), func(n *Node) *NodeLimits { return &n.Limits }, "Bounds of what the node uses."),
		},
	}
}

// DefaultNode is a node without a file and without environment variables.
func DefaultNode() Node {
	host, err := os.Hostname()
	if err != nil || !siteNameRE.MatchString(host) {
		host = "localhost"
	}
	return Node{
		Site: "local", Node: host, Listen: "127.0.0.1:9464",
		Log:        Log{LogInfo, LogAuto},
		UsageEvery: time.Minute, IdleAfter: time.Minute,
		Limits: NodeLimits{State: 256 << 20, Queue: 32 << 20, Disk: 2 << 30},
	}
}

// LoadNode reads node.yaml and the WEIR_ variables over it. An empty path means no file.
func LoadNode(path string) (Node, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = readFile(path); err != nil {
			return Node{}, err
		}
	}
	return ParseNode(path, data, OSEnv())
}

// ParseNode is LoadNode from bytes and with an environment of the caller's. No bytes mean no file.
func ParseNode(name string, data []byte, env Env) (Node, error) {
	n := DefaultNode()
	r := newReader(name, env)
	if len(strings.TrimSpace(string(data))) > 0 {
		if doc := r.document(data); doc != nil {
			nodeTable().read(r, r.value(doc, ""), &n)
		}
	}
	if err := r.errs.Err(); err != nil {
		return Node{}, err
	}
	if err := n.FromEnv(env); err != nil {
		return Node{}, err
	}
	return n, nil
}

// FromEnv takes over what WEIR_ variables say.
func (n *Node) FromEnv(env Env) error {
	var errs Errors
	for _, v := range []struct {
		name string
		set  func(string) error
	}{
		{"WEIR_SITE", func(s string) error { return setWord(nameKind("site"), s, &n.Site) }},
		{"WEIR_NODE", func(s string) error { return setWord(nameKind("node"), s, &n.Node) }},
		{"WEIR_LISTEN", func(s string) error { return setWord(listenKind(), s, &n.Listen) }},
		{"WEIR_KAFKA", func(s string) error { return setWord(brokersKind(), s, &n.Kafka.Brokers) }},
		{"WEIR_CLICKHOUSE", func(s string) error { return setWord(clickhouseURL(), s, &n.ClickHouse.URL) }},
		{"WEIR_LOG_LEVEL", func(s string) error { return setWord(logLevelKind(), s, &n.Log.Level) }},
		{"WEIR_LOG_FORMAT", func(s string) error { return setWord(logFormatKind(), s, &n.Log.Format) }},
		{"WEIR_USAGE_EVERY", func(s string) error { return setWord(usageKind(), s, &n.UsageEvery) }},
		{"WEIR_WASM_CACHE", func(s string) error { return setWord(fileKind("a folder"), s, &n.WasmCache) }},
		{"WEIR_IDLE_AFTER", func(s string) error { return setWord(idleKind(), s, &n.IdleAfter) }},
		{"WEIR_STATE", func(s string) error { return setWord(nodeLimitKind(), s, &n.Limits.State) }},
		{"WEIR_STATE_DIR", func(s string) error { return setWord(fileKind("a folder"), s, &n.StateDir) }},
		{"WEIR_DISK", func(s string) error { return setWord(nodeLimitKind(), s, &n.Limits.Disk) }},
		{"WEIR_QUEUE", func(s string) error { return setWord(nodeLimitKind(), s, &n.Limits.Queue) }},
	} {
		if env.Lookup == nil {
			break
		}
		if s, ok := env.Lookup(v.name); ok && s != "" {
			if err := v.set(s); err != nil {
				errs = append(errs, &Error{File: v.name, Path: v.name, Msg: err.Error()})
			}
		}
	}
	return errs.Err()
}

// SetSite and the other setters take a value from a flag, with the rules of node.yaml.
func (n *Node) SetSite(s string) error { return setWord(nameKind("site"), s, &n.Site) }

// SetNode sets the node's name.
func (n *Node) SetNode(s string) error { return setWord(nameKind("node"), s, &n.Node) }

// SetListen sets the address of metrics and health.
func (n *Node) SetListen(s string) error { return setWord(listenKind(), s, &n.Listen) }

// SetKafka sets the brokers, separated by commas.
func (n *Node) SetKafka(s string) error { return setWord(brokersKind(), s, &n.Kafka.Brokers) }

// SetClickHouse sets the ClickHouse URL.
func (n *Node) SetClickHouse(s string) error { return setWord(clickhouseURL(), s, &n.ClickHouse.URL) }

// SetWasmCache sets the folder that keeps compiled Wasm modules.
func (n *Node) SetWasmCache(s string) error { return setWord(fileKind("a folder"), s, &n.WasmCache) }

// SetStateDir sets the folder of the local store.
func (n *Node) SetStateDir(s string) error { return setWord(fileKind("a folder"), s, &n.StateDir) }

// SetLogLevel sets the lowest level that is logged.
func (n *Node) SetLogLevel(s string) error { return setWord(logLevelKind(), s, &n.Log.Level) }

// SetLogFormat sets the form of logs.
func (n *Node) SetLogFormat(s string) error { return setWord(logFormatKind(), s, &n.Log.Format) }
