package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-stream/weir/sink/clickhouse"
)

// branch is a line of a tree and what hangs from it.
type branch struct {
	text string
	sub  []*branch
}

func (b *branch) add(format string, args ...any) *branch {
	child := &branch{text: printable(fmt.Sprintf(format, args...))}
	b.sub = append(b.sub, child)
	return child
}

// pairs adds names and what they are, with the latter below each other.
func (b *branch) pairs(names, texts []string) {
	width := 0
	for _, n := range names {
		width = max(width, utf8.RuneCountInString(n))
	}
	for i, n := range names {
		b.add("%s%s  %s", n, strings.Repeat(" ", width-utf8.RuneCountInString(n)), texts[i])
	}
}

func (b *branch) write(w io.Writer, indent string) error {
	for i, child := range b.sub {
		fork, below := "├─ ", "│  "
		if i == len(b.sub)-1 {
			fork, below = "└─ ", "   "
		}
		if _, err := fmt.Fprintln(w, indent+fork+child.text); err != nil {
			return err
		}
		if err := child.write(w, indent+below); err != nil {
			return err
		}
	}
	return nil
}

// printLineage writes the row, what it is made of, and the revisions, as trees.
func (a *app) printLineage(t *traced) error {
	root := &branch{}
	row := root.add("%s, %s to %s", t.View, moment(t.Start), moment(t.End))
	row.values(t.Keys)
	row.values(t.Answer)
	made := root.add("made of %s from %s of %s: %s", count(t.Rows, "row"), count(len(t.Sources), "segment"),
		count(len(partitionsOf(t.Sources)), "partition"), finality(t.Lineage))
	var site, partition *branch
	siteName, partitionName := "", ""
	for i := range t.Sources {
		src := &t.Sources[i]
		if name := "site " + src.Site; site == nil || name != siteName {
			site, siteName, partition = made.add("%s", name), name, nil
		}
		if name := fmt.Sprintf("%s/%d, topic ID %s", src.Topic, src.Partition, src.TopicID); partition == nil || name != partitionName {
			partition, partitionName = site.add("%s", name), name
		}
		partition.source(src, t.Replay[i])
	}
	if len(t.Waiting) > 0 {
		waiting := root.add("%s not come to the end of the window, and may still have rows for it", haveNot(len(t.Waiting)))
		for _, w := range t.Waiting {
			waiting.add("%s %s/%d: complete until %s", w.Site, w.Topic, w.Partition, momentOr(w.Final, "nothing, it had no row"))
		}
	}
	if len(t.Dropped) > 0 {
		dropped := root.add("%s dropped its rows of the window: the node had no room for them", count(len(t.Dropped), "segment"))
		for _, d := range t.Dropped {
			dropped.add("%s %s/%d, segment %d: windows from %s to %s", d.Site, d.Topic, d.Partition, d.Segment, moment(d.From), moment(d.To))
		}
	}
	for i := range t.Revisions {
		root.revision(&t.Revisions[i])
	}
	for _, b := range root.sub {
		if _, err := fmt.Fprintln(a.stdout, b.text); err != nil {
			return err
		}
		if err := b.write(a.stdout, ""); err != nil {
			return err
		}
	}
	return nil
}

// source adds what is known of a stored row.
func (b *branch) source(src *clickhouse.Source, replay string) {
	if src.Account == nil {
		g := b.add("segment %d: %s, complete up to offset %d", src.Segment, count(src.Rows, "row"), src.To-1)
		g.add("revision %s", src.Revision)
		g.add("there is no account of the segment: 'weir audit' says more")
		g.add("stored by %s", storedBy(src))
		return
	}
	acc := src.Account
	g := b.add("segment %d: %s, of the records at offsets %s", src.Segment, count(src.Rows, "row"), span(src.From, src.To))
	names, texts := []string{"revision", "state", "stored by"}, []string{
		src.Revision,
		map[string]string{
			"final":  "final: the partition has passed the window",
			"closed": "closed: another segment goes on, this one takes no more rows",
			"open":   "open: it may still take rows",
		}[src.State],
		storedBy(src),
	}
	add := func(name, format string, args ...any) {
		names, texts = append(names, name), append(texts, fmt.Sprintf(format, args...))
	}
	add("watermark", "%s; windows are final until %s", momentOr(acc.Watermark, "none"), momentOr(acc.Final, "none"))
	open := ""
	if acc.Open > 0 {
		open = fmt.Sprintf(", %s in windows that are not final", thousands(acc.Open))
	}
	add("account", "offsets %s: %s and %s more; %s aggregated, %s late, %s filtered, %s rejected, %s dropped%s", span(acc.Start, acc.Version),
		count(acc.RecordsIn, "record"), count(acc.Expanded, "row"), thousands(acc.Counted), thousands(acc.Late), thousands(acc.Filtered), thousands(acc.Rejected), thousands(acc.Dropped), open)
	if acc.Lost > 0 {
		add("lost", "%s of the segment before, in windows that were not final when it ended: %s", count(acc.Lost, "row"), acc.GapReason)
	}
	if acc.Gap > 0 || acc.GapReason != "" {
		add("gap", "%s before offset %d lost: %s", count(acc.Gap, "offset"), acc.Start, acc.GapReason)
	}
	if len(src.DeadLetters) > 0 {
		var of []string
		for _, reason := range slices.Sorted(maps.Keys(src.DeadLetters)) {
			of = append(of, fmt.Sprintf("%s %s", thousands(src.DeadLetters[reason]), reason))
		}
		add("dead letters", "%s, of records with a timestamp in the window", strings.Join(of, ", "))
	}
	var states []string
	for _, v := range src.Values {
		states = append(states, v.Name+" "+clip(shownJSON(v.JSON)))
	}
	add("states", "%s", strings.Join(states, ", "))
	add("again", "%s", replay)
	g.pairs(names, texts)
}

// storedBy says which node stored a row, and how it came.
func storedBy(src *clickhouse.Source) string {
	text := fmt.Sprintf("%s at %s", src.Node, moment(src.StoredAt))
	if src.Shipped != "live" {
		text += ", from its disk or once more"
	}
	if src.Merged {
		text += "; it had no room, and merged windows into this one"
	}
	return text
}

// revision adds what a revision consists of.
func (b *branch) revision(r *clickhouse.SourceRevision) {
	g := b.add("revision %s of site %s", r.Revision, r.Site)
	if len(r.Nodes) == 0 {
		g.add("nothing is known of it: rows of it were stored before there was the table weir_revisions")
		return
	}
	g.add("spec SHA-256 %s (--json has the spec)", r.SpecDigest)
	var names, texts []string
	for _, o := range r.Operators {
		names, texts = append(names, o.Step), append(texts, "SHA-256 "+o.Digest+"  "+o.File)
	}
	for _, n := range r.Nodes {
		names = append(names, "node "+n.Node)
		texts = append(texts, fmt.Sprintf("%s to %s, last with %s", moment(n.FirstSeen), moment(n.LastSeen), n.Weir))
	}
	g.pairs(names, texts)
}

func (b *branch) values(values clickhouse.Values) {
	names, texts := make([]string, len(values)), make([]string, len(values))
	for i, v := range values {
		names[i], texts[i] = v.Name, clip(shownJSON(v.JSON))
	}
	b.pairs(names, texts)
}

// shownJSON is a value of JSON for people: text without its quotes.
func shownJSON(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && string(raw) != "null" {
		return s
	}
	return string(raw)
}

// finality says whether the answer can change.
func finality(l *clickhouse.Lineage) string {
	if l.Final {
		return "final"
	}
	return "it may still change"
}

func partitionsOf(sources []clickhouse.Source) map[string]bool {
	set := map[string]bool{}
	for i := range sources {
		s := &sources[i]
		set[fmt.Sprintf("%q %q %s %d", s.Site, s.Topic, s.TopicID, s.Partition)] = true
	}
	return set
}

func haveNot(n int) string {
	if n == 1 {
		return "1 partition has"
	}
	return thousands(int64(n)) + " partitions have"
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

func momentOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return moment(*t)
}
