package clickhouse

import (
	"encoding/json"
	"fmt"
	"slices"
)

// segmentSQL is the condition that chooses the segment that a count window is of, to be put behind another one. The view says it.
func (l *Lineage) segmentSQL() string {
	text := ""
	for _, v := range l.Answer {
		if !slices.Contains([]string{"_topic", "_partition", segmentColumn}, v.Name) {
			continue
		}
		value := string(v.JSON)
		var name string
		if json.Unmarshal(v.JSON, &name) == nil {
			value = quote(name)
		}
		text += fmt.Sprintf(" AND %s = %s", ident(v.Name), value)
	}
	return text
}

// isFull tells whether a row is of a count window that takes no more rows because it has all.
func (s *Sink) isFull(src *Source) bool { return s.table.Full > 0 && src.Rows >= int64(s.table.Full) }

// isOf tells whether a row is from a partition.
func (s *Source) isOf(b *Behind) bool {
	return s.Site == b.Site && s.Topic == b.Topic && s.Partition == b.Partition
}
