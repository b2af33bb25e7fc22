//go:build wasip1

package weir

import (
	"slices"
	"strings"
)

// ConfigKeys says which keys the configuration may have. One that has another, a misspelled one as a rule, is refused with a
// message that names it.
func (p *Plan) ConfigKeys(keys ...string) {
	p.config.Each(func(key string, _ Value) {
		if !slices.Contains(keys, key) {
			p.Refuse("config has no key \"" + key + "\"; there are: " + strings.Join(keys, " "))
		}
	})
}
