package simulation

import (
	"regexp"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// mutant is something broken on purpose, at a boundary of the product: a harness that does not notice proves nothing.
type mutant uint8

const (
	sound           mutant = iota
	mutantNoFinal          // commits do not say how far windows were final: a new owner builds final ones again, from fewer records
	mutantLastWins         // the centre shows what came last, whatever its version
	mutantNoSync           // the local store's disk does not sync
	mutantAllCount         // all rows count, also those that were merged into wider windows, or dropped
	mutantAmnesia          // a step with state does not take it up
	mutantSplit            // the local store saves rows in one commit, and what they are of in the next
	mutantUncounted        // the numbers of count windows are not taken up
	mutantEarly            // outputs say that they have sent what they have not
)

func (m mutant) String() string {
	return [...]string{"sound", "no F in the commit", "last arrival wins", "commits are not synced", "all rows count", "state is forgotten", "split commit", "numbers are forgotten", "sent too early"}[m]
}

var reached = regexp.MustCompile(`"reached":\[[^]]*\]`)

// withoutFinal has commits say that no clock was reached.
func withoutFinal(commits []ingest.Commit) []ingest.Commit {
	commits = slices.Clone(commits)
	for i := range commits {
		commits[i].Metadata = reached.ReplaceAllString(commits[i].Metadata, `"reached":[-9223372036854775808,0,0]`)
	}
	return commits
}

// noSync is a disk that acknowledges what it has not written.
type noSync struct{ vfs.FS }

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error                { return nil }
func (noSyncFile) SyncData() error            { return nil }
func (noSyncFile) SyncTo(int64) (bool, error) { return false, nil }

func (d noSync) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return noSyncFile{f}, err
}

func (d noSync) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(old, name, c)
	return noSyncFile{f}, err
}

func (d noSync) OpenDir(name string) (vfs.File, error) { return d.FS.OpenDir(name) }

// splitLane commits the rows of a change before the rest of it.
type splitLane struct {
	sink.Local
	p    *process
	meta []byte
}

func (l *splitLane) Load(rows func([]byte, *batch.Batch, []uint64) error) ([]byte, error) {
	meta, err := l.Local.Load(rows)
	l.meta = meta
	return meta, err
}

func (l *splitLane) Change() sink.LocalChange { return &splitChange{l: l} }

type splitChange struct {
	l    *splitLane
	rows []func(sink.LocalChange)
	rest []func(sink.LocalChange)
}

func (c *splitChange) Put(rows *batch.Batch, hashes, before []uint64) {
	c.rows = append(c.rows, func(ch sink.LocalChange) { ch.Put(rows, hashes, before) })
}

func (c *splitChange) DropWindow(start int64, of sink.Sum) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.DropWindow(start, of) })
}

func (c *splitChange) DropWindows(from, to int64, of sink.Sum) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.DropWindows(from, to, of) })
}

func (c *splitChange) DropRows(rows *batch.Batch, hashes []uint64) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.DropRows(rows, hashes) })
}

func (c *splitChange) Queue(rows *batch.Batch, from int) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.Queue(rows, from) })
}

func (c *splitChange) DropQueued(n int) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.DropQueued(n) })
}

func (c *splitChange) PutState(step string, state []byte) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.PutState(step, state) })
}

func (c *splitChange) PutLetters(letters []sink.DeadLetter) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.PutLetters(letters) })
}

func (c *splitChange) DropLetters(n int) {
	c.rest = append(c.rest, func(ch sink.LocalChange) { ch.DropLetters(n) })
}

func (c *splitChange) Discard() {}

func (c *splitChange) Commit(meta []byte) error {
	ch := c.l.Local.Change()
	for _, put := range c.rows {
		put(ch)
	}
	if c.l.meta != nil && len(c.rows) > 0 {
		if err := ch.Commit(c.l.meta); err != nil {
			return err
		}
		if err := c.l.p.step(); err != nil {
			return err
		}
		ch = c.l.Local.Change()
	}
	for _, do := range c.rest {
		do(ch)
	}
	if err := ch.Commit(meta); err != nil {
		return err
	}
	c.l.meta = slices.Clone(meta)
	return nil
}
