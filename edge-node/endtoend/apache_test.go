//go:build unix

package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
	"github.com/weir-stream/weir/edge-node/kafkatest"
)

// torturing tells whether there is time for everything: make torture.
var torturing = os.Getenv("WEIR_TORTURE") != ""

// TestApache is what a broker of Apache Kafka itself may do otherwise than the one in process. One broker serves all of it.
func TestApache(t *testing.T) {
	t.Parallel()
	c := kafkatest.Start(t, kafkatest.Config{})
	t.Run("cases", func(t *testing.T) { apacheCases(t, c.Brokers) })
	t.Run("logs", func(t *testing.T) { apacheLogs(t, c.Brokers) })
	t.Run("groups", func(t *testing.T) { apacheGroups(t, c.Brokers) })
}

// apacheLogs is TestLogs, with both group protocols.
func apacheLogs(t *testing.T, brokers []string) {
	t.Parallel()
	for i, l := range logs {
		of := protocols
		if !torturing {
			of = protocols[i%2 : i%2+1]
		}
		for _, protocol := range of {
			t.Run(l.name+"/"+string(protocol), func(t *testing.T) {
				t.Parallel()
				runLog(t, brokers, embeddedtest.Prefix(t, brokers), protocol, l.test)
			})
		}
	}
}

// apacheCases runs the files of testdata. Each has the group protocol of its turn.
func apacheCases(t *testing.T, brokers []string) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases, %v", err)
	}
	for i, file := range files {
		c, err := readCase(file)
		if err != nil {
			t.Fatal(err)
		}
		if c.get("error") != nil || *update {
			continue
		}
		ways := []way{
			{name: "consumer", spec: nodeSpec{Protocol: config.ProtocolConsumer}},
			{name: "classic_killed", spec: nodeSpec{Instance: "n1"}, kills: 2},
		}
		if !torturing {
			ways = ways[i%2 : i%2+1]
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			for _, w := range ways {
				w.spec.Brokers = brokers
				t.Run(w.name, func(t *testing.T) {
					t.Parallel()
					parallel <- struct{}{}
					defer func() { <-parallel }()
					runCase(t, c, w)
				})
			}
		})
	}
}
