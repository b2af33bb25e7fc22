package sink

import "time"

// Revision says what a revision of a pipeline consists of, so that every row can be traced to it.
type Revision struct {
	Revision uint64
	// Spec is what decides what the results are, as JSON for people: without secrets. SpecDigest is the SHA-256, in
	// hexadecimal, of the whole of it, of which the revision is the first 16 digits.
	Spec, SpecDigest string
	Operators        []Operator
	Weir             string    // version of weir
	Started          time.Time // when it began on the node
}

// Operator is a module of a revision.
type Operator struct {
	Step   string `json:"step"`
	File   string `json:"file"`   // where it was on the node
	Digest string `json:"sha256"` // in hexadecimal
}
