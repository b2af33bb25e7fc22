package clickhouse

import "fmt"

// What is noted of dead letters. The letters themselves are never changed: a node that ships one again, as it may after
// a crash, would undo it.
const (
	markSending  = "sending"  // a replay was about to send it: its record may be in the topic, or not
	markReplayed = "replayed" // its record is in the topic, at the offset noted
	markPurged   = "purged"   // it was deleted on purpose: the account still has it
)

// letterIdentity are the columns that tell the dead letters of a pipeline apart.
var letterIdentity = []string{"site", "topic", "topic_id", "partition", "rev", "segment", "record_offset", "step", "row_index"}

// letterMarksDef is the table of what people did with dead letters. There is no TTL: the audit counts those that were
// purged from here, for as long as there is an account of their segment.
func letterMarksDef() tableDef {
	d := tableDef{
		name:     letterMarkTable,
		order:    []string{"site", "pipeline", "topic", "topic_id", "partition", "rev", "segment", "record_offset", "step", "row_index", "mark"},
		settings: []string{fmt.Sprintf("non_replicated_deduplication_window = %d", dedupWindow)},
		comment:  "weir: which dead letters were replayed, and which purged",
	}
	for _, c := range letterMarkColumns {
		d.columns = append(d.columns, columnDef{name: c[0], typ: c[1]})
	}
	d.columns = append(d.columns, columnDef{name: "received_at", typ: "DateTime64(3, 'UTC')", computed: "now64(3, 'UTC')"})
	return d
}

// letterMarkColumns are the columns weir writes, with their types.
var letterMarkColumns = [][2]string{
	{"site", "String"},
	{"pipeline", "String"},
	{"rev", "UInt64"},
	{"topic", "String"},
	{"topic_id", "UUID"},
	{"partition", "UInt32"},
	{"segment", "UInt64"},
	{"record_offset", "Int64"},
	{"step", "String"},
	{"row_index", "Int32"},
	{"mark", "String"},
	{"time", "DateTime64(3, 'UTC')"}, // of the letter
	{"reason", "String"},             // of the letter
	{"target", "String"},             // topic its record was sent to
	{"target_partition", "Int32"},
	{"target_offset", "Int64"},
}
