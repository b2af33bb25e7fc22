package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
	"go.yaml.in/yaml/v3"
)

// TestSecretIsNotPrinted tries every way a struct usually gets into a log.
func TestSecretIsNotPrinted(t *testing.T) {
	const word = "hunter2"
	s := config.NewSecret("clickhouse://weir:" + word + "@central:9000/db?password=" + word)
	type nested struct {
		P *config.Secret
		S config.Secret
		M map[string]config.Secret
	}
	all := nested{&s, s, map[string]config.Secret{"k": s}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, all, &all)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "all", all)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "all", all)
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		b, err := marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(b)
	}
	out.WriteString(s.URL())
	if strings.Contains(out.String(), word) || strings.Contains(out.String(), fmt.Sprintf("%x", word)) {
		t.Errorf("the password is in\n%s", out.String())
	}
	if got, want := s.URL(), "clickhouse://weir:***@central:9000/db?***"; got != want {
		t.Errorf("URL is %s, want %s", got, want)
	}
	if got := config.NewSecret("just a word").URL(); got != "***" {
		t.Errorf("a word that is no URL shows as %s", got)
	}
	if !strings.Contains(s.Reveal(), word) {
		t.Error("Reveal hides it too")
	}
}
