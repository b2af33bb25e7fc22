package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/weir-stream/weir/edge-node/config"
)

// TestShown puts secrets wherever a pipeline file can have them, and looks for them in what others are shown.
func TestShown(t *testing.T) {
	data, err := os.ReadFile("testdata/full.yml")
	if err != nil {
		t.Fatal(err)
	}
	parse := func(pairs ...string) *config.Pipeline {
		t.Helper()
		s := string(data)
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(s, pairs[i]) {
				t.Fatalf("%q is not in the file", pairs[i])
			}
			s = strings.Replace(s, pairs[i], pairs[i+1], 1)
		}
		env := testEnv()
		env.Lookup = func(name string) (string, bool) {
			return map[string]string{"HMAC": "s3cr3t-env", "N": "424242", "T": "-40"}[name], name != "UNSET"
		}
		env.ReadFile = func(string) ([]byte, error) { return []byte("s3cr3t-file\n"), nil }
		p, err := config.ParseEnv("full.yml", []byte(s), env)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	digests := []string{"sha256:1"}
	plain := parse()
	if got, want := plain.Shown(digests, nil), plain.Canonical(digests, nil); !bytes.Equal(got, want) {
		t.Errorf("without secrets:\n%s\nwant\n%s", got, want)
	}
	p := parse(
		"offset: 0.4", `salted: x, a: ["${HMAC}", {b: "pre-${HMAC}-post"}], c: "${N}", d: "${file:/k}", API_Key: s3cr3t-literal, db: {password: {deep: s3cr3t-deep}}, plain: kept`,
		"temp > -40", "temp > ${T} AND site != '${HMAC}'",
		"avg(temp)", `"avg(temp) filter (where site != '${file:/aggregate}')"`,
	)
	whole, shown := string(p.Canonical(digests, nil)), string(p.Shown(digests, nil))
	for _, secret := range []string{"s3cr3t", "424242", "-40"} {
		if !strings.Contains(whole, secret) {
			t.Errorf("%q decides about results and is not in\n%s", secret, whole)
		}
		if strings.Contains(shown, secret) {
			t.Errorf("%q is shown:\n%s", secret, shown)
		}
	}
	for _, kept := range []string{
		`"a":["${HMAC}",{"b":"pre-${HMAC}-post"}]`, `"c":"${N}"`, `"d":"${file:/k}"`, `"API_Key":"***"`, `"db":{"password":"***"}`,
		`"plain":"kept"`, `${T} AND site`, `'${file:/aggregate}'`,
	} {
		if !strings.Contains(shown, kept) && !strings.Contains(shown, strings.ReplaceAll(kept, "$", `\u0024`)) {
			t.Errorf("%s is not in\n%s", kept, shown)
		}
	}
}
