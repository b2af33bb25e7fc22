package batch

import "fmt"

// Record is one message of a source partition, before it is decoded. Its slices belong to the source and stay valid
// until the batch made from it, and every dead letter that names it, are done with.
type Record struct {
	Offset  int64
	Time    int64 // the broker's or producer's timestamp, in milliseconds since 1970
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header is a key and value that travel beside a record.
type Header struct {
	Key   string
	Value []byte
}

// Partition names a partition of a topic. The topic ID tells a recreated topic from the one it replaces.
type Partition struct {
	Topic   string
	TopicID [16]byte // zero where the broker has none
	ID      int32
}

// String is "topic/partition".
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.ID) }

// Batch is a record batch on its way through the steps of a pipeline. Steps change it in place: they replace columns,
// drop rows, add rejects. One goroutine uses a batch at a time.
type Batch struct {
	Schema *Schema
	Rows   int
	Cols   []Column // one per field of Schema

	// Records are the messages the batch was decoded from, in offset order, the rejected ones included.
	Records   []Record
	Partition Partition
	// Origin[i] is the index in Records of the record that row i came from. It is nil where an operator could not say.
	Origin []int32

	// Rejects are the records and rows that were taken out for a reason.
	Rejects []Reject
	// Filtered counts rows that steps dropped on purpose, and records without rows; Expanded the rows that steps added, and those
	// that a record has beyond its first. So at every moment
	// Begun + Expanded = Rows + Filtered + len(Rejects) + rows the window took.
	Filtered, Expanded int64

	// Many says that a record can have several rows. Rows that are rejected are then kept by themselves, each as JSON.
	Many bool
	// Resumed says that the rows go on where those of the batch before ended, inside the one record of Records: it was counted
	// there. Whoever drives the decoder sets it, after a batch that was Unfinished.
	Resumed bool
	// Unfinished says that the one record of Records has more rows than there was room for. The next batch has to go on with it,
	// and nothing may be shipped or committed in between.
	Unfinished bool

	slots     []*Slot
	originBuf [2][]int32 // reused by Origins; two, so that one can be read while the next is written
	originCur int
}

// Begin empties a batch for the next records and releases what it held.
func (b *Batch) Begin(s *Schema, p Partition, records []Record) {
	b.Release()
	b.Schema, b.Partition, b.Records = s, p, records
	b.SetWidth(len(s.Fields))
}

// SetWidth sets the number of columns, keeping the first ones and clearing new ones.
func (b *Batch) SetWidth(n int) {
	for len(b.Cols) < n {
		b.Cols = append(b.Cols, Column{})
	}
	b.Cols = b.Cols[:n]
}

// Hold adds a slot whose reference the batch takes over and gives back in Release.
func (b *Batch) Hold(s *Slot) { b.slots = append(b.slots, s) }

// TakeSlots makes the slots that another batch holds this one's: its columns may then be used here for as long as this
// batch is.
func (b *Batch) TakeSlots(from *Batch) {
	b.slots = append(b.slots, from.slots...)
	clear(from.slots)
	from.slots = from.slots[:0]
}

// Release gives back every slot and empties the batch; its memory for columns and origins is kept for reuse. All
// slices taken from it end here. Releasing twice is fine.
func (b *Batch) Release() {
	for _, s := range b.slots {
		s.Release()
	}
	clear(b.slots)
	b.slots = b.slots[:0]
	clear(b.Cols)
	b.Cols = b.Cols[:0]
	clear(b.Rejects)
	b.Rejects = b.Rejects[:0]
	b.Schema, b.Records, b.Origin, b.Rows, b.Filtered, b.Expanded = nil, nil, nil, 0, 0, 0
	b.Many, b.Resumed, b.Unfinished = false, false, false
}

// Begun is how many of Records were not begun by a batch before.
func (b *Batch) Begun() int {
	if b.Resumed {
		return len(b.Records) - 1
	}
	return len(b.Records)
}

// Finished is how many of Records have no more rows to come.
func (b *Batch) Finished() int {
	if b.Unfinished {
		return len(b.Records) - 1
	}
	return len(b.Records)
}

// Origins is a buffer of n entries to be filled and then set as Origin. It stays valid while the previous Origin is
// still read, and is reused after that.
func (b *Batch) Origins(n int) []int32 {
	b.originCur ^= 1
	buf := b.originBuf[b.originCur]
	if cap(buf) < n {
		buf = make([]int32, n, n+n/4)
		b.originBuf[b.originCur] = buf
	}
	return buf[:n]
}

// Reject takes row i, which must still be as it was, out of account with a reason. The caller removes the row itself.
func (b *Batch) Reject(i int, step string, reason Reason, detail string) {
	record := int32(-1)
	if b.Origin != nil {
		record = b.Origin[i]
	}
	var payload []byte
	if b.Many {
		payload = b.RowJSON(i)
	}
	b.Rejects = append(b.Rejects, Reject{Record: record, Step: step, Reason: reason, Detail: detail, Payload: payload})
}

// Reject is a record or row that could not go on. It ends as a dead letter.
type Reject struct {
	Record int32  // index in Batch.Records, or -1 where it is not known
	Step   string // the step that rejected it: "decode", "2 wasm calibrate", "window"
	Reason Reason
	Detail string // for people: what is wrong with the value, bounded in length
	// Payload is what to keep where Record is not known or has many rows: the row as JSON. Otherwise it is nil, and the record's
	// own value is kept.
	Payload []byte
}

// Reason is a stable code for why something was rejected. It is a metric label and a column in ClickHouse.
type Reason string

// The reasons.
const (
	ReasonEmpty      Reason = "empty"        // the record has no value
	ReasonTooLarge   Reason = "too_large"    // over the size limit; only its beginning is kept
	ReasonMalformed  Reason = "malformed"    // not of the format: truncated, or not JSON
	ReasonMissing    Reason = "missing"      // a column that may not be null is null or not there
	ReasonWrongType  Reason = "wrong_type"   // a value is not of the column's type
	ReasonOutOfRange Reason = "out_of_range" // a number or time does not fit the column's type
	ReasonLate       Reason = "late"         // behind the watermark by more than the allowed lateness
	ReasonFuture     Reason = "future"       // event time jumps ahead of the stream by more than max_jump
	ReasonExpression Reason = "expression"   // an expression failed on the row
	ReasonOperator   Reason = "operator"     // a Wasm operator failed on the row
)

// Reasons lists every reason, for documentation and for metrics that start at 0.
func Reasons() []Reason {
	return []Reason{
		ReasonEmpty, ReasonTooLarge, ReasonMalformed, ReasonMissing, ReasonWrongType, ReasonOutOfRange,
		ReasonLate, ReasonFuture, ReasonExpression, ReasonOperator,
	}
}
