package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/config"
)

func TestNode(t *testing.T) {
	vars := map[string]string{"WEIR_SITE": "paris", "WEIR_KAFKA": "k1,k2:9", "WEIR_CLICKHOUSE": "clickhouse://u:p@c:9000/db", "WEIR_LOG_FORMAT": "", "WEIR_QUEUE": "48MiB", "WEIR_USAGE_EVERY": "0", "WEIR_WASM_CACHE": "here", "WEIR_IDLE_AFTER": "90s"}
	env := config.Env{Lookup: func(n string) (string, bool) { v, ok := vars[n]; return v, ok }}
	n, err := config.ParseNode("node.yaml", []byte("site: berlin\nnode: n7\nlisten: 0.0.0.0:80\nlog: {level: debug}\nlimits: {state: 128MiB}\nusage_every: 5m\n"), env)
	if err != nil {
		t.Fatal(err)
	}
	if n.Site != "paris" || n.Node != "n7" || n.Listen != "0.0.0.0:80" || n.Log.Level != config.LogDebug || n.Log.Format != config.LogAuto ||
		n.UsageEvery != 0 || n.WasmCache != "here" || n.IdleAfter != 90*time.Second || n.Limits.State != 128<<20 || n.Limits.Queue != 48<<20 || strings.Join(n.Kafka.Brokers, " ") != "k1:9092 k2:9" || n.ClickHouse.URL.Reveal() != "clickhouse://u:p@c:9000/db" {
		t.Errorf("%+v", n)
	}
	if n, err := config.ParseNode("", nil, config.Env{}); err != nil || n.Site != "local" || n.Node == "" || n.Listen != "127.0.0.1:9464" ||
		n.Limits.State != 256<<20 || n.Limits.Queue != 32<<20 || n.UsageEvery != time.Minute {
		t.Errorf("defaults: %+v, %v", n, err)
	}
}

func TestNodeBad(t *testing.T) {
	for _, c := range []struct{ file, name, value, want string }{
		{"sitee: x\n", "", "", `node.yaml:1:1: unknown key "sitee" in node.yaml; did you mean "site"?`},
		{"log: {level: verbose}\n", "", "", `node.yaml:1:14: log.level: "verbose" is not a log level; use one of debug, info, warn, error`},
		{"site: 'a b'\n", "", "", `node.yaml:1:7: site: "a b" is not a site name: use letters`},
		{"", "WEIR_LISTEN", "http://x", `WEIR_LISTEN: "http://x" is not an address: write it as host:9464`},
		{"", "WEIR_CLICKHOUSE", "ftp://u:hunter2@h:8123", `WEIR_CLICKHOUSE: the URL must begin with clickhouse://, http:// or https://, not ftp://`},
		{"", "WEIR_LOG_LEVEL", "inf", `WEIR_LOG_LEVEL: "inf" is not a log level; did you mean "info"?`},
		{"limits: {memory: 64MiB}\n", "", "", `node.yaml:1:10: unknown key "memory" in limits; known keys: state, queue`},
		{"limits: {state: 64k}\n", "", "", `node.yaml:1:17: limits.state: 64k is too small; at least 1MiB`},
		{"usage_every: 100ms\n", "", "", `node.yaml:1:14: usage_every: 100ms is too short; at least 1s, or 0 for never`},
		{"usage_every: 1h\n", "", "", `node.yaml:1:14: usage_every: 1h is too long; at most 10m`},
		{"uplink: 5\n", "", "", `node.yaml:1:9: uplink: want a mapping with rate, hours, timezone, not "5"`},
		{"uplink: {speed: 1MiB}\n", "", "", `node.yaml:1:10: unknown key "speed" in uplink; known keys: rate, hours, timezone`},
		{"uplink: {rate: 10}\n", "", "", `node.yaml:1:16: uplink.rate: 10 is too small; at least 1KiB`},
		{"uplink: {hours: [night], timezone: UTC}\n", "", "", `node.yaml:1:18: uplink.hours[0]: "night" are not hours: write them like 22:00-06:00`},
		{"uplink: {hours: ['22:00-22:00'], timezone: UTC}\n", "", "", `node.yaml:1:18: uplink.hours[0]: "22:00-22:00" is no time at all`},
		{"uplink: {hours: ['22:00-06:00'], timezone: Mars/Olympus}\n", "", "", `node.yaml:1:44: uplink.timezone: there is no time zone "Mars/Olympus"; use an IANA name such as Europe/Berlin, or UTC`},
		{"uplink: {timezone: UTC}\n", "", "", `node.yaml:1:9: uplink: hours and timezone go together`},
		{"", "WEIR_STATE", "lots", `WEIR_STATE: `},
		{"", "WEIR_SITE", "${HOME}", `WEIR_SITE: "${HOME}" is not a site name`},
	} {
		env := config.Env{Lookup: func(n string) (string, bool) { return c.value, n == c.name }}
		_, err := config.ParseNode("node.yaml", []byte(c.file), env)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}
