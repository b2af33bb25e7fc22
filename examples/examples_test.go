// Package examples_test holds the examples to what their files and the rest of the tree say of them.
package examples_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weir-stream/weir/bench/workload"
	"github.com/weir-stream/weir/edge-node/config"
)

func load(t *testing.T, name string) *config.Pipeline {
	t.Helper()
	env := config.Env{Lookup: func(string) (string, bool) { return "", false }}
	path := filepath.Join(name, "pipeline.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.ParseEnv(path, data, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A truth computed by other rules than the pipeline's would prove nothing.
func TestTruthsFollowThePipelines(t *testing.T) {
	sensors, err := workload.NewSensorsTruth(workload.SensorsTruthConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ticks, err := workload.NewTicksTruth(workload.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	weather, err := workload.NewWeatherTruth(workload.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	for name, truth := range map[string]*workload.Truth{"sensors": sensors, "ticks": ticks, "weather": weather} {
		t.Run(name, func(t *testing.T) {
			p := load(t, name)
			want := workload.Rules{
				Window: p.Window.Size, MaxOutOfOrder: p.Time.MaxOutOfOrder, AllowedLateness: p.Time.AllowedLateness,
				MaxRecord: int(p.Source.Kafka.MaxRecord),
			}
			if truth.Rules() != want {
				t.Errorf("the truth's rules are %+v, the pipeline's %+v", truth.Rules(), want)
			}
			var keys, values []string
			for _, k := range p.Window.GroupBy {
				keys = append(keys, k.Name)
			}
			for _, a := range p.Window.Aggregates {
				values = append(values, a.Name)
			}
			c := truth.Columns()
			var have []string
			for _, v := range c.Values {
				have = append(have, v.Name)
			}
			if !reflect.DeepEqual(c.Keys, keys) || !reflect.DeepEqual(have, values) {
				t.Errorf("the truth answers %v %v, the pipeline %v %v", c.Keys, have, keys, values)
			}
		})
	}
}

func TestModulesAreThere(t *testing.T) {
	for _, s := range load(t, "sensors").Steps {
		if s.Wasm == nil {
			continue
		}
		module, err := os.ReadFile(s.Wasm.File)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(module), "\x00asm") {
			t.Errorf("%s is not WebAssembly", s.Wasm.File)
		}
	}
}

func TestWeatherDataIsUnchanged(t *testing.T) {
	data, err := os.ReadFile("weather/seattle-weather-hourly-normals.csv")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("weather/README.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(data)); !strings.Contains(string(readme), sum) {
		t.Errorf("the data's SHA-256 is %s, and its README says otherwise", sum)
	}
	if rows := strings.Count(string(data), "\n") - 1; rows != 8759 {
		t.Errorf("%d rows", rows)
	}
}
