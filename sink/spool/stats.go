package spool

// Stats is what a store uses and has done since it was opened.
type Stats struct {
	Bytes    int64  // on the disk now, without the ballast
	Logical  int64  // bytes of keys and values that were committed
	Written  int64  // bytes written to the disk for them: log, flushes, compactions. Written/Logical is the wear of flash.
	Full     bool   // the disk is full, and nothing new may be written
	Fills    int64  // times the disk was full
	Slow     int64  // writes that took longer than Config.SlowDisk
	SlowNow  string // which write is slow, or was within 10 s; empty if none
	Stalls   int64  // times writers had to wait for the database
	Damaged  error  // what was found damaged while running; the process ends, and the next Open sets the store aside
	SetAside bool   // Open found a damaged store, and began this one
}

// Stats takes a picture.
func (s *Store) Stats() Stats {
	m := s.db.Metrics()
	written := m.WAL.BytesWritten
	for i := range m.Levels {
		l := &m.Levels[i]
		written += l.TableBytesFlushed + l.TableBytesCompacted + l.BlobBytesFlushed + l.BlobBytesCompacted
	}
	st := Stats{
		Bytes: int64(m.DiskSpaceUsage()), Logical: s.logical.Load(), Written: int64(written),
		Slow: s.events.slowWrites.Load(), Stalls: s.events.stalls.Load(), SlowNow: s.events.slowNow(),
		SetAside: s.events.setAside != "",
	}
	s.space.mu.Lock()
	st.Full, st.Fills = s.space.full || s.space.err != nil, s.space.fills
	s.space.mu.Unlock()
	if err := s.events.damaged.Load(); err != nil {
		st.Damaged = *err
	}
	return st
}
