//go:build linux

package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-stream/weir/edge-node/embedded/clickhouse"
	"github.com/weir-stream/weir/edge-node/embedded/embeddedtest"
)

// TestDiskFull fills the disk of ClickHouse while records arrive. The node says so and waits; with space again it goes on,
// and nothing is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	ctx := ownServers(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("SKIPPED, nothing was tested: a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	ch := startClickHouse(ctx, t, clickhouse.Config{Dir: filepath.Join(disk, "data")})
	t.Cleanup(ch.Kill) // before the disk goes
	brokers, prefix := embeddedtest.Kafka(t)
	s := newStream(t, brokers, prefix+"sensors", ch.DSN("default"), "    instance_id: box-1")
	s.produce(ctx, 8, 60_000, 8000)
	conn := openClickHouse(t, s.clickhouse)
	node := s.start()
	eventually(t, patience, func() (bool, string) { return s.stored(conn) > 0, node.stderr.String() })

	// A merge that meets the full disk can leave a part without its marks behind, which no query can read again: that is the
	// engine's to mend, and not what is tested here.
	if err := conn.Exec(ctx, "SYSTEM STOP MERGES"); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 20, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() (bool, string) {
		text := strings.ToLower(node.stderr.String())
		return strings.Contains(text, "no space") || strings.Contains(text, "not enough space") || strings.Contains(text, "disk is full"), node.stderr.String()
	})
	stuck := s.stored(conn)
	time.Sleep(time.Second)
	if !node.running() {
		t.Fatalf("the node ended:\n%s", node.stderr.String())
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// An insert that the full server never answers ends after its timeout of 60 s, and is then tried again.
	eventually(t, 2*patience, func() (bool, string) {
		n := s.stored(conn)
		return n > stuck, fmt.Sprintf("%d stored, %d while the disk was full\n%s\nClickHouse:\n%s", n, stuck, node.stderr.String(), ch.Stderr())
	})
	s.waitProduced()
	node.signal(t, os.Interrupt)
	if code := node.wait(t, patience); code != 0 {
		t.Errorf("exit code %d:\n%s", code, node.stderr.String())
	}
	s.finish()
	s.check()
}
