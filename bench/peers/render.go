package peers

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"github.com/weir-stream/weir/bench/contender"
)

// render fills the templates in files with a task, one after the other.
func render(files fs.FS, t contender.Task, names ...string) ([]byte, error) {
	values := struct {
		Topic, Brokers, Name, Dir string
		BrokerList                string // a list of YAML without its brackets
	}{t.Topic, strings.Join(t.Brokers, ","), t.Name, t.Dir, `"` + strings.Join(t.Brokers, `", "`) + `"`}
	var out bytes.Buffer
	for _, name := range names {
		text, err := template.New("").Option("missingkey=error").ParseFS(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the configuration: %w", err)
		}
		if err := text.ExecuteTemplate(&out, name[strings.LastIndexByte(name, '/')+1:], values); err != nil {
			return nil, fmt.Errorf("fill in the configuration: %w", err)
		}
	}
	return out.Bytes(), nil
}
