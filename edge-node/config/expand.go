package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxExpanded is the most a reference may expand to.
const maxExpanded = 64 << 10

// Env is where references lead. Its functions may be nil: then nothing is set and no file can be read.
type Env struct {
	Lookup   func(name string) (string, bool)  // environment variables
	ReadFile func(path string) ([]byte, error) // ${file:…}
}

// OSEnv is the environment of the process.
func OSEnv() Env {
	return Env{Lookup: os.LookupEnv, ReadFile: readSmallFile}
}

func readSmallFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxExpanded+1))
	if err == nil && len(b) > maxExpanded {
		err = fmt.Errorf("%s has more than %d bytes", path, maxExpanded)
	}
	return b, err
}

// expand replaces the references of a text. On an error the offset is where the reference begins.
func (e Env) expand(t Text, dir string) (Text, int, error) {
	if !strings.Contains(t.Value, "${") {
		return t, 0, nil
	}
	out := Text{Pos: t.Pos}
	var b strings.Builder
	from := t.places()
	add := func(value string, at int) {
		out.marks = append(out.marks, mark{b.Len(), from.at(at)})
		b.WriteString(value)
	}
	in, next := t.Value, 0 // next is the first mark that is not copied yet
	for i := 0; i < len(in); {
		j := strings.IndexByte(in[i:], '$')
		if j < 0 {
			j = len(in) - i
		}
		if j > 0 { // plain text keeps its own marks
			out.marks = append(out.marks, mark{b.Len(), from.at(i)})
			for ; next < len(t.marks) && t.marks[next].off < i+j; next++ {
				if m := t.marks[next]; m.off > i {
					out.marks = append(out.marks, mark{b.Len() + m.off - i, m.pos})
				}
			}
			b.WriteString(in[i : i+j])
			i += j
			continue
		}
		switch {
		case strings.HasPrefix(in[i:], "$${"):
			add("${", i)
			i += len("$${")
		case strings.HasPrefix(in[i:], "${"):
			end := strings.IndexByte(in[i:], '}')
			if end < 0 {
				return t, i, fmt.Errorf("the reference has no closing }")
			}
			value, err := e.reference(in[i+2:i+end], dir)
			if err != nil {
				return t, i, err
			}
			add(value, i)
			i += end + 1
		default:
			add("$", i)
			i++
		}
		if b.Len() > maxFile {
			return t, 0, fmt.Errorf("the text is larger than %d bytes once its references are expanded", maxFile)
		}
	}
	out.Value = b.String()
	return out, 0, nil
}

// reference is the value of what stands between ${ and }.
func (e Env) reference(ref, dir string) (string, error) {
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		return e.file(path, dir)
	}
	name, def, hasDefault := strings.Cut(ref, ":-")
	name = strings.TrimPrefix(name, "env:")
	if !envName(name) {
		return "", fmt.Errorf("${%s} is no reference: use ${NAME}, ${NAME:-default}, ${env:NAME} or ${file:/path}", ref)
	}
	value, set := "", false
	if e.Lookup != nil {
		value, set = e.Lookup(name)
	}
	if hasDefault && value == "" {
		return def, nil
	}
	if !set {
		return "", fmt.Errorf("the environment variable %s is not set: set it, or give a default with ${%s:-default}", name, name)
	}
	return value, nil
}

func (e Env) file(path, dir string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("${file:} names no file")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if e.ReadFile == nil {
		return "", fmt.Errorf("files cannot be read here: ${file:%s}", path)
	}
	b, err := e.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read a referenced file: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

func envName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
