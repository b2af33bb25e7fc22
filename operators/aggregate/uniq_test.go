package aggregate

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// TestExactSetsAreTheSameBytes: a set that was filled in another order, or read back, is written as the same bytes. Rows are known
// by the hashes of their bytes.
func TestExactSetsAreTheSameBytes(t *testing.T) {
	var values [][]byte
	for i := range uint64(1000) {
		values = append(values, binary.LittleEndian.AppendUint64(nil, i*0x9e3779b97f4a7c15))
	}
	var words, otherWords, readWords exactWords
	var texts, otherTexts, readTexts exactTexts
	for i, v := range values {
		words.add(binary.LittleEndian.Uint64(v))
		texts.add(v, cells{}, 0)
		otherWords.add(binary.LittleEndian.Uint64(values[len(values)-1-i]))
		otherTexts.add(values[len(values)-1-i], cells{}, 0)
	}
	a, b := words.append(nil, cells{}), texts.append(nil, cells{})
	if err := readWords.load(slices.Clone(a), cells{}); err != nil {
		t.Fatal(err)
	}
	if err := readTexts.load(slices.Clone(b), cells{}); err != nil {
		t.Fatal(err)
	}
	for name, same := range map[string]bool{
		"words": bytes.Equal(a, otherWords.append(nil, cells{})), "words that were read": bytes.Equal(a, readWords.append(nil, cells{})),
		"texts": bytes.Equal(b, otherTexts.append(nil, cells{})), "texts that were read": bytes.Equal(b, readTexts.append(nil, cells{})),
	} {
		if !same {
			t.Errorf("%s: other bytes", name)
		}
	}
}
