package clickhouse

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// FuzzQueryPacket reads a Query packet and the blocks after it, as any client may send them.
func FuzzQueryPacket(f *testing.F) {
	for _, rev := range []int{oldestRevision, 54412, 54429, 54453, revision} {
		var b proto.Buffer
		proto.Query{
			ID: "id", Body: "SELECT 1", Stage: proto.StageComplete, Compression: proto.CompressionDisabled,
			Info:       proto.ClientInfo{ProtocolVersion: rev, Interface: proto.InterfaceTCP, Query: proto.ClientQueryInitial},
			Settings:   []proto.Setting{{Key: "max_threads", Value: "2"}},
			Parameters: []proto.Parameter{{Key: "x", Value: "'a\\'b'"}},
		}.EncodeAware(&b, rev)
		b.Buf = append(b.Buf, 2, 0)
		b.Buf = appendEmptyBlock(b.Buf, nil, layoutOf(rev))
		f.Add(b.Buf[1:], uint16(rev-oldestRevision))
	}
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	if err := w.Compress(appendEmptyBlock(nil, nil, layoutOf(revision))); err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0, 0, 0, 0, 2, 1, 0, 0, 2, 0}, w.Data...), uint16(revision-oldestRevision))
	f.Fuzz(func(t *testing.T, data []byte, rev uint16) {
		srv := &Server{cfg: Config{MaxBlock: 1 << 20}}
		srv.settingsOnce.Do(func() { srv.settingsTypes = map[string]bool{"max_threads": true, "log_comment": false} })
		c := &connection{srv: srv, in: newInput(bytes.NewReader(data)), revision: min(oldestRevision+int(rev), revision)}
		req, err := c.readQuery()
		if err != nil {
			return
		}
		if len(req.body) > len(data) || len(req.settings) > len(data) || len(req.params) > len(data) {
			t.Fatalf("%d bytes gave a larger request", len(data))
		}
		parseStatement(req.body)
		var scratch []byte
		tables, err := c.readExternalTables(req, &scratch)
		if err == nil && len(tables) > maxExternalTables {
			t.Fatalf("%d tables", len(tables))
		}
	})
}

// TestHelloIsBounded sends greetings that must not be believed.
func TestHelloIsBounded(t *testing.T) {
	long := append([]byte{0}, 0xff, 0xff, 0xff, 0xff, 0x0f)
	for name, hello := range map[string][]byte{
		"huge name":    long,
		"old revision": {0, 1, 'c', 1, 1, 10, 0, 0, 0},
		"wrong packet": {9},
		"bad varint":   bytes.Repeat([]byte{0xff}, 20),
		"cut":          {0, 3, 'c'},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go func() { _, _ = client.Write(hello); _, _ = io.Copy(io.Discard, client) }()
			c := &connection{srv: &Server{}, nc: server, in: newInput(bytes.NewReader(hello))}
			if err := c.hello(); err == nil {
				t.Error("it was accepted")
			}
			server.Close()
		})
	}
}
