package batch

import (
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow/ipc"
)

// StreamWriter writes batches of one schema as an Arrow IPC stream. It is for tools: pipelines read such streams and write none.
type StreamWriter struct{ w *ipc.Writer }

// NewStreamWriter begins a stream. Nothing is written before the first batch, or Close.
func NewStreamWriter(to io.Writer, s *Schema) *StreamWriter {
	return &StreamWriter{ipc.NewWriter(to, ipc.WithSchema(s.Arrow()))}
}

// Write adds a batch, which has the schema of the stream. It keeps nothing of it.
func (s *StreamWriter) Write(b *Batch) error {
	rec := b.Record()
	defer rec.Release()
	if err := s.w.Write(rec); err != nil {
		return fmt.Errorf("write an Arrow batch: %w", err)
	}
	return nil
}

// Close ends the stream.
func (s *StreamWriter) Close() error {
	if err := s.w.Close(); err != nil {
		return fmt.Errorf("end an Arrow stream: %w", err)
	}
	return nil
}
