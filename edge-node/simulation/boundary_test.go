package simulation

import (
	"context"

	"github.com/weir-stream/weir/ingest"
	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
	"github.com/weir-stream/weir/sink/spool"
)

// source is the real source; commits are a boundary at which a process may die.
type source struct {
	ingest.Source
	p *process
}

func (s *source) Commit(ctx context.Context, commits []ingest.Commit) error {
	if err := s.p.step(); err != nil {
		return err
	}
	if s.p.w.plan.mutant == mutantNoFinal {
		commits = withoutFinal(commits)
	}
	if err := s.Source.Commit(ctx, commits); err != nil {
		return err
	}
	return s.p.step()
}

// localOf is the disk of a lane.
func (p *process) localOf(part batch.Partition, revision uint64) sink.Local {
	id := spool.ID{Pipeline: "sim", Revision: revision, TopicID: part.TopicID, Partition: part.ID}
	l := sink.Local(p.store.Lane(id, p.w.table()))
	if p.w.plan.mutant == mutantSplit {
		l = &splitLane{Local: l, p: p}
	}
	return &lane{Local: l, p: p, id: id}
}

// kept lists the lanes of a revision.
func (p *process) kept(revision uint64) (parts []batch.Partition, err error) {
	ids, err := p.store.Lanes()
	for _, id := range ids {
		if id.Revision == revision {
			parts = append(parts, batch.Partition{TopicID: id.TopicID, ID: id.Partition})
		}
	}
	return parts, err
}

// lane is a lane of the store; commits are a boundary, and what they acknowledge is remembered, for the next process to
// have.
type lane struct {
	sink.Local
	p  *process
	id spool.ID
}

func (l *lane) Load(rows func([]byte, *batch.Batch, []uint64) error) ([]byte, error) {
	meta, err := l.Local.Load(rows)
	l.p.disk.loaded(l.p.w, l.id, meta, err)
	return meta, err
}

func (l *lane) Clear() error {
	if err := l.p.step(); err != nil {
		return err
	}
	l.p.disk.begin(l.id, nil)
	err := l.Local.Clear()
	if err == nil {
		l.p.disk.done(l.id, nil)
	}
	return err
}

func (l *lane) Only() error {
	if err := l.p.step(); err != nil {
		return err
	}
	l.p.disk.forgetOthers(l.id)
	return l.Local.Only()
}

func (l *lane) Change() sink.LocalChange { return &change{l.Local.Change(), l} }

type change struct {
	sink.LocalChange
	l *lane
}

func (c *change) Commit(meta []byte) error {
	if err := c.l.p.step(); err != nil {
		c.Discard()
		return err
	}
	c.l.p.disk.begin(c.l.id, meta)
	if err := c.LocalChange.Commit(meta); err != nil {
		return err
	}
	c.l.p.disk.done(c.l.id, meta)
	return c.l.p.step()
}
