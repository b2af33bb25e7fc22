package spool

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weir-stream/weir/ingest/batch"
	"github.com/weir-stream/weir/sink"
)

// view reads a lane as it was when the view was made: an iterator of the database is a snapshot.
type view struct {
	l             *Lane
	rows, letters *pebble.Iterator
	states, queue *pebble.Iterator
	reader        *rowsReader
	started       [3]bool // rows, letters, queue
}

// View implements sink.Local.
func (l *Lane) View() (sink.LocalView, error) {
	v := &view{l: l, reader: newRowsReader(l.schema.Fields)}
	for _, of := range []struct {
		kind byte
		to   **pebble.Iterator
	}{{keyGroup, &v.rows}, {keyLetter, &v.letters}, {keyState, &v.states}, {keyQueue, &v.queue}} {
		prefix := l.key(of.kind)
		it, err := l.s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return nil, errors.Join(readError(err), v.Close())
		}
		*of.to = it
	}
	return v, nil
}

// Close implements sink.LocalView.
func (v *view) Close() error {
	var errs []error
	for _, it := range []*pebble.Iterator{v.rows, v.letters, v.states, v.queue} {
		if it != nil {
			errs = append(errs, readError(it.Close()))
		}
	}
	v.rows, v.letters, v.states, v.queue = nil, nil, nil, nil
	return errors.Join(errs...)
}

// next moves an iterator and returns its entry; the key is without the lane, and nil at the end.
func (v *view) next(it *pebble.Iterator, started *bool) (key, value []byte, err error) {
	ok := false
	if *started {
		ok = it.Next()
	} else {
		ok = it.First()
	}
	if *started = true; !ok {
		return nil, nil, readError(it.Error())
	}
	stored, err := it.ValueAndErr()
	if err != nil {
		return nil, nil, readError(err)
	}
	if value, err = unseal(it.Key(), stored); err != nil {
		return nil, nil, err
	}
	return it.Key()[1+len(v.l.id.Pipeline)+1+laneTail:], value, nil
}

// From implements sink.LocalView.
func (v *view) From(start int64) {
	prefix := v.l.key(keyGroup)
	v.rows.SetBounds(binary.BigEndian.AppendUint64(prefix[:len(prefix):len(prefix)], signed(start)), after(prefix))
	v.started[0] = false
}

// Skip implements sink.LocalView.
func (v *view) Skip(n int) {
	if n > 0 {
		v.queue.SetBounds(v.l.queueKey(v.l.queue.oldest+uint64(n)), after(v.l.key(keyQueue)))
		v.started[2] = false
	}
}

// nextRow is the next row that waits, or where none does the next group.
func (v *view) nextRow() (key, value []byte, err error) {
	key, value, err = v.next(v.queue, &v.started[2])
	if err != nil || key == nil {
		if err == nil {
			key, value, err = v.next(v.rows, &v.started[0])
		}
		return key, value, err
	}
	if len(key) < 8 {
		return nil, nil, fmt.Errorf("%w: a row that waits has no number", ErrDamaged)
	}
	return key[8:], value, nil
}

// Rows implements sink.LocalView.
func (v *view) Rows(n int) (*batch.Batch, error) {
	for v.reader.rows < n {
		key, value, err := v.nextRow()
		if err != nil {
			return nil, err
		}
		if key == nil {
			break
		}
		if err := v.reader.group(key, value, v.l.keys); err != nil {
			return nil, err
		}
	}
	if v.reader.rows == 0 {
		return nil, nil
	}
	return v.reader.batch(v.l.schema), nil
}

// Letters implements sink.LocalView.
func (v *view) Letters(bytes int) ([]sink.DeadLetter, error) {
	var letters []sink.DeadLetter
	var before sink.DeadLetter
	for bytes > 0 {
		key, value, err := v.next(v.letters, &v.started[1])
		if err != nil {
			return nil, err
		}
		if key == nil {
			break
		}
		d, err := readLetter(value, &before)
		if err != nil {
			return nil, err
		}
		letters, before = append(letters, d), d
		bytes -= len(value)
	}
	return letters, nil
}

// States implements sink.LocalView.
func (v *view) States() ([]sink.StepState, error) {
	var states []sink.StepState
	for started := false; ; {
		key, value, err := v.next(v.states, &started)
		if err != nil || key == nil {
			return states, err
		}
		states = append(states, sink.StepState{Step: string(key), Bytes: append([]byte{}, value...)})
	}
}
