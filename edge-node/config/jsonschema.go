package config

import (
	"encoding/json"
	"fmt"
)

// jsonSchema is a JSON Schema, draft 7: what editors know best.
type jsonSchema map[string]any

func typed(t string) jsonSchema { return jsonSchema{"type": t} }

// orReference also allows a reference where a number is wanted.
func orReference(s jsonSchema) jsonSchema {
	return jsonSchema{"anyOf": []any{s, jsonSchema{"type": "string", "pattern": `\$\{`}}}
}

// jsonSchema describes the object's keys; those not supported yet are left out.
func (o object[T]) jsonSchema() jsonSchema {
	props, required := jsonSchema{}, []string{}
	for _, f := range o.fields {
		if f.later {
			continue
		}
		p := jsonSchema{"description": f.doc}
		for k, v := range f.schema {
			p[k] = v
		}
		props[f.key] = p
		if f.required {
			required = append(required, f.key)
		}
	}
	s := jsonSchema{"type": "object", "properties": props, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// Schema is the JSON Schema (draft 7) of pipeline files, made from the tables the parser uses.
func Schema() ([]byte, error) {
	return document(pipelineTable().jsonSchema(), "weir.schema.json", "weir pipeline")
}

// NodeSchema is the JSON Schema (draft 7) of node.yaml.
func NodeSchema() ([]byte, error) {
	return document(nodeTable().jsonSchema(), "weir-node.schema.json", "weir node.yaml")
}

func document(s jsonSchema, name, title string) ([]byte, error) {
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["$id"] = "https://raw.githubusercontent.com/weir-stream/weir/main/edge-node/config/" + name
	s["title"] = title
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("marshal the schema of %s: %w", title, err)
	}
	return append(b, '\n'), nil
}
