package config

import (
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setWord reads a value that does not stand in a file, by the rules of those that do.
func setWord[V any](k kind[V], word string, to *V) error {
	r := newReader("", Env{})
	r.src = newSource("")
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ReplaceAll(word, "${", "$${"), Line: 1, Column: 1}
	if k.read(r, r.value(n, "value"), to) {
		return nil
	}
	if len(r.errs) == 0 {
		return errors.New("not a valid value")
	}
	e := r.errs[0]
	msg := strings.TrimPrefix(e.Msg, "value: ")
	if e.Hint != "" {
		msg += "; " + e.Hint
	}
	return errors.New(msg)
}
