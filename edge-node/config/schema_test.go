package config_test

import (
	"os"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestSchemaDrift compares the committed JSON Schemas with the tables they are made from.
func TestSchemaDrift(t *testing.T) {
	for file, make := range map[string]func() ([]byte, error){
		"weir.schema.json": config.Schema, "weir-node.schema.json": config.NodeSchema,
	} {
		want, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is not what the tables say (error %v): run go test ./edge-node/config -run Schema -update", file, err)
		}
	}
}
