package config

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/ingest/schema"
	"go.yaml.in/yaml/v3"
)

// Source is where records come from.
type Source struct {
	// Kafka is the broker and the topics.
	Kafka Kafka
	// Format is how a record's value is written. Default json.
	Format Format
	// Columns are what is read from a record, in the order written.
	Columns schema.Columns
	// ColumnPos is where the name of each of Columns stands.
	ColumnPos []Pos
}

// Format is a format of record values.
type Format string

// The formats.
const (
	FormatJSON  Format = "json"  // one JSON object per record
	FormatArrow Format = "arrow" // one Arrow IPC stream per record, of many rows
)

// Kafka is a consumer group on some topics.
type Kafka struct {
	// Brokers are "host:port" addresses to start from. Empty means those of node.yaml.
	Brokers []string
	// Topics are names and patterns of topics.
	Topics []Topic
	// Group is the consumer group. Default weir-<pipeline>.
	Group string
	// Start is where a partition without a commit begins. Default earliest.
	Start Start
	// Protocol of the group: classic, consumer (KIP-848), or auto, which takes consumer where the broker has it, and classic
	// for a static member. Default auto.
	Protocol Protocol
	// OnGap says what to do when records are lost before they were read: report and continue, or stop the partition.
	// Default continue.
	OnGap OnGap
	// InstanceID makes the member static (KIP-345), so that a short restart moves no partition. Empty means none.
	InstanceID string
	// SessionTimeout is after how long without a sign of life the group gives a node's partitions to others. Default 45 s.
	SessionTimeout time.Duration
	// SASL is how to log in; nil means not at all.
	SASL *SASL
	// TLS is how to encrypt; nil means not at all.
	TLS *TLS
	// AllowCompacted reads topics whose cleanup.policy has compact, which are refused otherwise.
	AllowCompacted bool
	// MaxRecord is the largest record value in bytes that is decoded; larger ones become dead letters. Default 1 MiB.
	MaxRecord int64
}

// Topic is a topic or a pattern of topics.
type Topic struct {
	Name  string         // the name, or the pattern without its "re:"
	Regex *regexp.Regexp // the pattern; nil for a name
	Pos   Pos
}

// Start is where a partition without a commit begins.
type Start struct {
	At   StartAt
	Time time.Time // StartTime: the first record at or after this
}

// StartAt is a kind of start.
type StartAt string

// The starts.
const (
	StartEarliest StartAt = "earliest"
	StartLatest   StartAt = "latest"
	StartTime     StartAt = "time"
)

// Protocol is a group protocol.
type Protocol string

// The group protocols.
const (
	ProtocolAuto     Protocol = "auto"
	ProtocolClassic  Protocol = "classic"
	ProtocolConsumer Protocol = "consumer"
)

// OnGap is what to do about lost records.
type OnGap string

// What can be done about lost records.
const (
	GapContinue OnGap = "continue"
	GapStop     OnGap = "stop"
)

// SASL is a login.
type SASL struct {
	Mechanism Mechanism
	User      string
	Password  Secret
}

// Mechanism is a SASL mechanism.
type Mechanism string

// The mechanisms.
const (
	Plain       Mechanism = "plain"
	ScramSHA256 Mechanism = "scram-sha-256"
	ScramSHA512 Mechanism = "scram-sha-512"
)

// TLS is how a connection is encrypted and checked.
type TLS struct {
	// CA is a PEM file with the authorities to trust. Empty means the system's.
	CA string
	// Cert and Key are PEM files of the client's certificate. Empty means none.
	Cert, Key string
	// ServerName is the name the server's certificate must have. Empty means the host's.
	ServerName string
	// InsecureSkipVerify accepts any certificate: for tests alone.
	InsecureSkipVerify bool
}

func sourceTable() object[Source] {
	return object[Source]{
		what: "source",
		fields: []field[Source]{
			at("kafka", kafkaTable().kind(), func(s *Source) *Kafka { return &s.Kafka }, "Kafka-compatible broker, topics and group.").must(),
			at("format", enum("a format", []Format{FormatJSON, FormatArrow}, "avro", "protobuf", "csv", "line-protocol", "raw"),
				func(s *Source) *Format { return &s.Format }, "How a record's value is written: json, an object, or arrow, an Arrow IPC stream of any number of rows. Default json."),
			columnsField(),
		},
	}
}

func kafkaTable() object[Kafka] {
	return object[Kafka]{
		what: "source.kafka",
		fields: []field[Kafka]{
			at("brokers", brokersKind(), func(k *Kafka) *[]string { return &k.Brokers },
				"Addresses host:port to start from, as a list or with commas. Default: those of node.yaml."),
			at("topics", listOf("a list of topics", topicKind()), func(k *Kafka) *[]Topic { return &k.Topics },
				`Names of topics, and patterns that begin with "re:".`).must(),
			at("group", textKind("a group name"), func(k *Kafka) *string { return &k.Group }, "Consumer group. Default weir-<pipeline>."),
			at("start", startKind(), func(k *Kafka) *Start { return &k.Start },
				"Where a partition without a commit begins: earliest, latest, or an RFC 3339 time. Default earliest."),
			at("protocol", enum("a group protocol", []Protocol{ProtocolAuto, ProtocolClassic, ProtocolConsumer}),
				func(k *Kafka) *Protocol { return &k.Protocol },
				"Group protocol: classic, consumer (KIP-848), or auto, which takes consumer where the broker has it and no instance_id is set. Default auto."),
			at("on_gap", enum("a way to handle lost records", []OnGap{GapContinue, GapStop}), func(k *Kafka) *OnGap { return &k.OnGap },
				"When records were lost before they were read: continue and report it, or stop the partition. Default continue."),
			at("instance_id", textKind("an instance ID"), func(k *Kafka) *string { return &k.InstanceID },
				"Makes the group member static: after a crash or a short restart it goes on at once. Each node of a group needs its own."),
			at("session_timeout", durationKind(time.Second, 30*time.Minute), func(k *Kafka) *time.Duration { return &k.SessionTimeout },
				"After how long without a sign of life the group gives the node's partitions to others. Brokers take 6s to 30m; with the consumer protocol the broker decides. Default 45s."),
			at("sasl", saslTable().pointer(func() SASL { return SASL{} }), func(k *Kafka) **SASL { return &k.SASL }, "How to log in to the broker."),
			at("tls", tlsKind(), func(k *Kafka) **TLS { return &k.TLS }, "true, or how to encrypt and whom to trust."),
			at("allow_compacted", boolKind(), func(k *Kafka) *bool { return &k.AllowCompacted },
				"Read topics whose cleanup.policy has compact, too. The broker removes records from them at any time, so that totals are of what was there when it was read, and a restart may count other records. Default false: such topics are refused."),
			at("max_record", sizeKind(1<<10, 64<<20), func(k *Kafka) *int64 { return &k.MaxRecord },
				"Largest record value that is decoded; larger ones become dead letters. Default 1MiB."),
		},
	}
}

func saslTable() object[SASL] {
	return object[SASL]{
		what: "sasl",
		fields: []field[SASL]{
			at("mechanism", enum("a SASL mechanism", []Mechanism{Plain, ScramSHA256, ScramSHA512}, "oauthbearer", "gssapi", "aws-msk-iam"),
				func(s *SASL) *Mechanism { return &s.Mechanism }, "SASL mechanism.").must(),
			at("user", textKind("a user name"), func(s *SASL) *string { return &s.User }, "User name.").must(),
			at("password", secretKind("a password"), func(s *SASL) *Secret { return &s.Password },
				"A reference such as ${file:/run/secrets/kafka} keeps it out of this file.").must(),
		},
	}
}

// fileKind is the path of a file or folder, relative to the file it stands in.
func fileKind(what string) kind[string] {
	k := textKind(what)
	return kind[string]{k.schema, func(r *reader, v value, to *string) bool {
		if !k.read(r, v, to) {
			return false
		}
		if !filepath.IsAbs(*to) {
			*to = filepath.Join(r.dir, *to)
		}
		return true
	}}
}

func tlsTable() object[TLS] {
	return object[TLS]{
		what: "tls",
		fields: []field[TLS]{
			at("ca", fileKind("a PEM file"), func(t *TLS) *string { return &t.CA }, "PEM file with the authorities to trust. Default: the system's."),
			at("cert", fileKind("a PEM file"), func(t *TLS) *string { return &t.Cert }, "PEM file with the client's certificate."),
			at("key", fileKind("a PEM file"), func(t *TLS) *string { return &t.Key }, "PEM file with the client's key."),
			at("server_name", textKind("a host name"), func(t *TLS) *string { return &t.ServerName }, "Name the server's certificate must have. Default: the host's."),
			at("insecure_skip_verify", boolKind(), func(t *TLS) *bool { return &t.InsecureSkipVerify }, "Accept any certificate: for tests alone."),
		},
		check: func(r *reader, v value, t *TLS) {
			if (t.Cert == "") != (t.Key == "") {
				r.failf(v, "cert and key belong together, and one is missing")
			}
		},
	}
}

func tlsKind() kind[*TLS] {
	table := tlsTable().pointer(func() TLS { return TLS{} })
	return kind[*TLS]{jsonSchema{"anyOf": []any{typed("boolean"), table.schema}}, func(r *reader, v value, to **TLS) bool {
		if v.n.Kind != yaml.ScalarNode {
			return table.read(r, v, to)
		}
		on := false
		if !boolKind().read(r, v, &on) {
			return false
		}
		if on {
			*to = &TLS{}
		}
		return true
	}}
}

func brokersKind() kind[[]string] {
	return commaList("a list of host:port", func(s string) (string, error) { return hostPort(s, "9092") })
}

// hostPort checks an address and adds the port that is usual.
func hostPort(s, usual string) (string, error) {
	if strings.Contains(s, "://") || s == "" || strings.ContainsAny(s, " \t/") {
		return "", fmt.Errorf("%s is not an address: write it as host:%s", quote(s), usual)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if strings.Contains(s, ":") && !strings.HasPrefix(s, "[") {
			return "", fmt.Errorf("%s is not an address: write it as host:%s, IPv6 as [::1]:%s", quote(s), usual, usual)
		}
		host, port = strings.Trim(s, "[]"), usual
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 || host == "" {
		return "", fmt.Errorf("%s is not an address: write it as host:%s", quote(s), usual)
	}
	return net.JoinHostPort(host, port), nil
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func topicKind() kind[Topic] {
	return kind[Topic]{typed("string"), func(r *reader, v value, to *Topic) bool {
		t, ok := r.text(v, "a topic")
		if !ok {
			return false
		}
		if pattern, is := strings.CutPrefix(t.Value, "re:"); is {
			re, err := regexp.Compile(pattern)
			if err != nil || pattern == "" {
				_ = r.failf(v, "%s is not a pattern: %v", quote(pattern), err).WithHint("the syntax is at https://golang.org/s/re2syntax")
				return false
			}
			*to = Topic{pattern, re, t.Pos}
			return true
		}
		if !topicName.MatchString(t.Value) || t.Value == "." || t.Value == ".." {
			hint := "letters, digits, '.', '_' and '-', at most 249"
			if strings.ContainsAny(t.Value, "*^$|()") {
				hint = `write a pattern as "re:^sensors\\..*$"`
			}
			_ = r.failf(v, "%s is not a topic name", quote(t.Value)).WithHint("%s", hint)
			return false
		}
		*to = Topic{t.Value, nil, t.Pos}
		return true
	}}
}

func startKind() kind[Start] {
	return kind[Start]{typed("string"), func(r *reader, v value, to *Start) bool {
		t, ok := r.text(v, "earliest, latest, or a time")
		if !ok {
			return false
		}
		if at := StartAt(t.Value); at == StartEarliest || at == StartLatest {
			*to = Start{At: at}
			return true
		}
		when, err := time.Parse(time.RFC3339, t.Value)
		if err != nil {
			e := r.failf(v, "%s is not a start", quote(t.Value)).WithHint("use earliest, latest, or a time such as 2026-01-31T08:00:00Z")
			if near := Nearest(t.Value, []string{"earliest", "latest"}); near != "" {
				_ = e.WithHint("did you mean %q?", near)
			}
			return false
		}
		*to = Start{StartTime, when.UTC()}
		return true
	}}
}

// column is how a column is written when it needs more than a type.
type column struct {
	typ   batch.Type
	null  bool
	path  []string
	epoch batch.Unit
	hasEp bool
	from  schema.Meta
	head  string
	meta  bool
}

func columnTable() object[column] {
	return object[column]{
		what: "a column",
		fields: []field[column]{
			{
				key: "type", doc: "Arrow type of the column, with ? if it may be null; list<type> for a JSON array.", required: true, schema: typeKind().schema,
				read: func(r *reader, v value, c *column) { typeKind().read(r, v, c) },
			},
			at("path", pathKind(), func(c *column) *[]string { return &c.path },
				"Where the value is in the record, such as payload.temp; a list where a key has dots. In Arrow, the name of a field. Default: the column's name."),
			{
				key: "epoch", doc: "Unit of a number in a timestamp column of JSON: s, ms, us or ns. Default: the type's unit.",
				schema: jsonSchema{"enum": []string{"s", "ms", "us", "ns"}},
				read: func(r *reader, v value, c *column) {
					units := []string{"s", "ms", "us", "ns"}
					var unit string
					if enum("a unit of time", units).read(r, v, &unit) {
						c.epoch, c.hasEp = batch.Unit(slices.Index(units, unit)), true
					}
				},
			},
			{
				key: "kafka", doc: "Take the column from the record's key, timestamp, partition, offset, topic, or a header as header.NAME.",
				schema: jsonSchema{"type": "string", "pattern": `^(key|timestamp|partition|offset|topic|header\..+)$`},
				read:   readMeta,
			},
		},
		check: func(r *reader, v value, c *column) {
			switch {
			case c.meta && c.path != nil:
				r.failf(v, "kafka and path exclude each other")
			case c.hasEp && c.typ.Kind != batch.Timestamp && c.typ.Item != batch.Timestamp:
				r.failf(v, "epoch is for timestamps, and the column is %s", c.typ)
			case c.hasEp && c.meta:
				r.failf(v, "kafka and epoch exclude each other")
			}
		},
	}
}

func readMeta(r *reader, v value, c *column) {
	t, ok := r.text(v, "a part of the record")
	if !ok {
		return
	}
	names := []string{"key", "timestamp", "offset", "partition", "topic"}
	if head, is := strings.CutPrefix(t.Value, "header."); is && head != "" {
		c.from, c.head, c.meta = schema.FromHeader, head, true
		return
	}
	i := slices.Index(names, t.Value)
	if i < 0 {
		e := r.failf(v, "%s is not a part of a record", quote(t.Value)).WithHint("use key, timestamp, partition, offset, topic or header.NAME")
		if near := Nearest(t.Value, names); near != "" {
			_ = e.WithHint("did you mean %q?", near)
		}
		return
	}
	c.from, c.meta = schema.FromKey+schema.Meta(i), true
}

// typeKind reads "float64?".
func typeKind() kind[column] {
	var names []string
	for _, n := range batch.TypeNames() {
		names = append(names, n, n+"?")
	}
	for _, n := range batch.TypeNames() {
		names = append(names, "list<"+n+">", "list<"+n+">?")
	}
	return kind[column]{orDecimal(names, `^(decimal\( *[0-9]{1,2} *, *[0-9]{1,2} *\)|list<decimal\( *[0-9]{1,2} *, *[0-9]{1,2} *\)>)\??$`), func(r *reader, v value, c *column) bool {
		t, ok := r.text(v, "a type")
		if !ok {
			return false
		}
		typ, null, err := batch.ParseType(t.Value)
		if err == nil {
			c.typ, c.null = typ, null
			return true
		}
		_ = r.failf(v, "unknown type %s", quote(t.Value)).WithHint("%s", typeHint(t.Value))
		return false
	}}
}

// orDecimal is the schema of type names, with the pattern of decimals of any digits.
func orDecimal(names []string, pattern string) jsonSchema {
	return jsonSchema{"anyOf": []any{
		jsonSchema{"enum": names},
		jsonSchema{"type": "string", "pattern": pattern},
	}}
}

// typeHint names the type that was meant, also by the words of other systems.
func typeHint(s string) string {
	if hint := listHint(s); hint != "" {
		return hint
	}
	bare, null := strings.CutSuffix(strings.ToLower(s), "?")
	if word, _, _ := strings.Cut(bare, "("); slices.Contains([]string{"decimal", "numeric", "decimal128", "dec"}, strings.TrimSpace(word)) {
		if strings.Contains(bare, "(") && !strings.HasSuffix(bare, ")") {
			return `quote the type between { }: {type: "decimal(18, 2)"}`
		}
		return fmt.Sprintf("write decimal(P, S): P digits in all, from 1 to %d, of which S are behind the point; for example decimal(18, 2)", batch.MaxPrecision)
	}
	for _, known := range []struct{ words, name string }{
		{"text varchar str utf8 char uuid", "string"},
		{"double float number real", "float64"},
		{"integer long bigint int", "int64"},
		{"uint unsigned", "uint64"},
		{"boolean", "bool"},
		{"bytes blob", "binary"},
		{"date", "date32"},
		{"timestamp datetime time timestamp_ms timestamp[]", "timestamp[ms]"},
	} {
		if slices.Contains(strings.Fields(known.words), bare) {
			if null {
				return fmt.Sprintf("did you mean %q?", known.name+"?")
			}
			return fmt.Sprintf("did you mean %q?", known.name)
		}
	}
	if near := Nearest(bare, batch.TypeNames()); near != "" {
		if null {
			near += "?"
		}
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "use one of " + strings.Join(batch.TypeNames(), " ") + " decimal(P, S), or list<one of the others>, each with ? if it may be null"
}

// listHint is typeHint for what looks like a list.
func listHint(s string) string {
	t, null := strings.CutSuffix(strings.ToLower(s), "?")
	mark := ""
	if null {
		mark = "?"
	}
	for _, form := range [][2]string{{"list<", ">"}, {"array<", ">"}, {"list[", "]"}, {"array[", "]"}, {"list(", ")"}, {"array(", ")"}, {"[]", ""}, {"", "[]"}} {
		item, begins := strings.CutPrefix(t, form[0])
		item, ends := strings.CutSuffix(item, form[1])
		if !begins || !ends || form[0] == "" && item == "timestamp" {
			continue
		}
		name, nullable := strings.CutSuffix(item, "?")
		switch {
		case strings.HasPrefix(name, "decimal("):
			if t, _, err := batch.ParseType(name); err == nil {
				return fmt.Sprintf("did you mean %q?", batch.ListOf(t).String()+mark)
			}
		case strings.ContainsAny(name, "<>()") || strings.Contains(name, "[]") || name == "list" || name == "array":
			return "lists of lists are not supported: flatten them in the producer"
		case nullable:
			return fmt.Sprintf("items of a list are never null; write %q where the list as a whole may be", "list<"+name+">?")
		case slices.Contains(batch.TypeNames(), name):
			return fmt.Sprintf("did you mean %q?", "list<"+name+">"+mark)
		}
		return "of the items: " + typeHint(name)
	}
	if t == "list" || t == "array" {
		return "say of what, such as list<float64>" + mark
	}
	return ""
}

func pathKind() kind[[]string] {
	list := listOf("a list of keys", textKind("a key"))
	return kind[[]string]{jsonSchema{"anyOf": []any{typed("string"), list.schema}}, func(r *reader, v value, to *[]string) bool {
		if v.n.Kind == yaml.SequenceNode {
			return list.read(r, v, to)
		}
		t, ok := r.text(v, "a path such as payload.temp")
		if !ok {
			return false
		}
		parts := strings.Split(t.Value, ".")
		if slices.Contains(parts, "") {
			_ = r.failf(v, "%s is not a path", quote(t.Value)).WithHint("write it like payload.temp, or as a list where a key has dots: [a.b, c]")
			return false
		}
		*to = parts
		return true
	}}
}

// columnsField reads the columns, each a type or a mapping.
func columnsField() field[Source] {
	full := columnTable().kind()
	short := typeKind()
	item := kind[column]{jsonSchema{"anyOf": []any{short.schema, full.schema}}, func(r *reader, v value, to *column) bool {
		if v.n.Kind == yaml.MappingNode {
			return full.read(r, v, to)
		}
		return short.read(r, v, to)
	}}
	type declared struct {
		name string
		pos  Pos
		column
	}
	all := named("a mapping of column names to types", item, func(name string, pos Pos, c column) declared { return declared{name, pos, c} })
	all.schema["propertyNames"] = jsonSchema{"pattern": columnName}
	return field[Source]{
		key: "columns", doc: "The columns to read from a record: name: type.", required: true, schema: all.schema,
		read: func(r *reader, v value, s *Source) {
			var ds []declared
			ok := all.read(r, v, &ds)
			for _, d := range ds {
				path := join(v.path, d.name)
				if err := CheckName(d.name); err != nil {
					_ = r.addf(d.pos, path, "source.columns: %v", err).WithHint("give the column another name, and say with path where its value is")
					ok = false
				}
				c := schema.Column{
					Field: batch.Field{Name: d.name, Type: d.typ, Nullable: d.null},
					From:  d.from, Path: d.path, Header: d.head, Epoch: d.epoch,
				}
				if c.From == schema.FromValue && c.Path == nil {
					c.Path = []string{d.name}
				}
				if !d.hasEp {
					c.Epoch = d.typ.Unit
				}
				s.Columns = append(s.Columns, c)
				s.ColumnPos = append(s.ColumnPos, d.pos)
			}
			if ok {
				checkPaths(r, s)
			}
		},
	}
}

// checkPaths finds columns that one record could not fill both: two at one place, or one inside the other's scalar.
func checkPaths(r *reader, s *Source) {
	byPath := map[string]int{}
	key := func(path []string) string { return fmt.Sprintf("%q", path) }
	for i, c := range s.Columns {
		if c.From != schema.FromValue {
			if err := (schema.Columns{c}).Validate(); err != nil {
				r.addf(s.ColumnPos[i], "source.columns."+c.Name, "source.columns: %v", err)
			}
			continue
		}
		if j, dup := byPath[key(c.Path)]; dup {
			_ = r.addf(s.ColumnPos[i], "source.columns."+c.Name, "source.columns: %s and %s both read %s",
				s.Columns[j].Name, c.Name, strings.Join(c.Path, ".")).WithHint("copy it with a map step")
			continue
		}
		byPath[key(c.Path)] = i
	}
	for i, c := range s.Columns {
		for n := 1; c.From == schema.FromValue && n < len(c.Path); n++ {
			if j, inside := byPath[key(c.Path[:n])]; inside {
				r.addf(s.ColumnPos[i], "source.columns."+c.Name, "source.columns: %s reads %s, inside the value that %s reads whole",
					c.Name, strings.Join(c.Path, "."), s.Columns[j].Name)
			}
		}
	}
}
