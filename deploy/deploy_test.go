// Package deploy_test checks what can be checked of the files for deployment without deploying them.
package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const credential = "/run/credentials/weir.service/clickhouse-url"

func TestNodeFile(t *testing.T) {
	const path = "systemd/node.yaml"
	n, err := config.ParseNode(path, []byte(read(t, path)), config.Env{
		ReadFile: func(path string) ([]byte, error) {
			if path != credential {
				t.Errorf("node.yaml reads %s, and the unit's credential is at %s", path, credential)
			}
			return []byte("clickhouse://weir:secret@central:9000/weir\n"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n.Site == "local" || len(n.Kafka.Brokers) == 0 || n.ClickHouse.URL.Reveal() != "clickhouse://weir:secret@central:9000/weir" {
		t.Errorf("node.yaml says %+v", n)
	}
	if !strings.HasPrefix(n.Listen, "127.0.0.1:") {
		t.Errorf("it listens on %s, and should on loopback", n.Listen)
	}
}

// unit reads a unit file: section and key to values, in order.
func unit(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	section := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		key, value, pair := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case !pair || section == "" || strings.HasSuffix(line, "\\"):
			t.Fatalf("line %d of the unit is not understood: %s", i+1, line)
		default:
			out[section+"."+key] = append(out[section+"."+key], value)
		}
	}
	return out
}

func TestUnit(t *testing.T) {
	u := unit(t, read(t, "systemd/weir.service"))
	for key, want := range map[string]string{
		"Service.ExecStart":               "/usr/local/bin/weir run -c /etc/weir/node.yaml /etc/weir/pipelines",
		"Service.LoadCredential":          "clickhouse-url:/etc/weir/clickhouse-url",
		"Service.DynamicUser":             "yes",
		"Service.NoNewPrivileges":         "yes",
		"Service.ProtectSystem":           "strict",
		"Service.CapabilityBoundingSet":   "",
		"Service.MemoryDenyWriteExecute":  "no", // yes would stop every Wasm operator
		"Service.SystemCallArchitectures": "native",
		"Install.WantedBy":                "multi-user.target",
	} {
		if !slices.Contains(u[key], want) {
			t.Errorf("%s is %q, should be %q", key, u[key], want)
		}
	}
}

// systemd itself knows best what is a key, where it is installed. It cannot know of the binary.
func TestUnitVerifies(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", "systemd/weir.service").CombinedOutput()
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if strings.Contains(line, "weir.service") && !strings.Contains(line, "/usr/local/bin/weir is not executable") {
			t.Errorf("systemd-analyze (%v): %s", err, line)
		}
	}
}

func TestContainerfile(t *testing.T) {
	got := map[string]string{}
	for _, line := range strings.Split(read(t, "container/Containerfile"), "\n") {
		if word, rest, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "#") {
			got[word] = rest
		}
	}
	var entry, cmd []string
	if err := json.Unmarshal([]byte(got["ENTRYPOINT"]), &entry); err != nil {
		t.Errorf("ENTRYPOINT: %v", err)
	}
	if err := json.Unmarshal([]byte(got["CMD"]), &cmd); err != nil {
		t.Errorf("CMD: %v", err)
	}
	if got["FROM"] != "scratch" || got["USER"] != "65532:65532" || got["ARG"] != "TARGETARCH" || got["COPY"] != "dist/weir-linux-${TARGETARCH} /weir" {
		t.Errorf("the image is %v", got)
	}
	// Both ways of running start the node in the same way.
	start := unit(t, read(t, "systemd/weir.service"))["Service.ExecStart"][0]
	_, args, _ := strings.Cut(start, " ")
	if strings.Join(cmd, " ") != args || !slices.Equal(entry, []string{"/weir"}) {
		t.Errorf("the container runs %q %q, the unit %q", entry, cmd, start)
	}
}
