package engine_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests at a time than there are cores: they wait for groups and clocks, and work for a thirtieth of their time.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "16")
	}
	os.Exit(m.Run())
}
