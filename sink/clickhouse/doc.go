// Package clickhouse is the sink that stores cuts in ClickHouse, over clickhouse-go alone: a DSN is all that tells a
// demo from production.
//
// It owns three kinds of tables. Names in angle brackets come from the configuration:
//
//	<table>_partials    a row per window, key and source: cumulative states, replaced by higher versions
//	<table>             the view people read: FINAL, merged over sources, finished
//	weir_coverage       a row per segment of a partition: what was read and where it went
//	weir_completeness   the view over it: up to when each partition is complete
//	weir_dead_letters   records and rows that could not go on
//	weir_revisions      what each revision of a pipeline consists of
//
// Exactly-once rests on the tables alone. Each is a ReplacingMergeTree whose sorting key is the row's identity, so
// writing a cut twice, late, or after a newer one changes no answer. A deduplication token goes with every insert and
// saves the server a part on a retry inside its window; nothing depends on it.
//
// The delivery package calls Write; the command line calls DDL, Check, Apply and Audit.
package clickhouse
