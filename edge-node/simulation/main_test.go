package simulation

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain runs the tests, in a binary that was built with the tag synctests: a goroutine that waits for a sync.Mutex keeps
// virtual time from passing, and the Kafka client holds some while it talks to the broker. With the tag it uses channels.
// A binary without the tag has the go command build and run the other, with its own flags.
func TestMain(m *testing.M) {
	flag.Parse()
	if timely {
		shareLocks()
		os.Exit(m.Run())
	}
	args := []string{"test", "-count=1", "-tags", "synctests", "."}
	var own []string
	flag.Visit(func(f *flag.Flag) {
		name, test := strings.CutPrefix(f.Name, "test.")
		switch {
		case !test:
			own = append(own, "-"+f.Name+"="+f.Value.String())
		case name == "run", name == "v", name == "timeout", name == "parallel", name == "short", name == "failfast", name == "cpuprofile", name == "memprofile":
			args = append(args, "-"+name+"="+f.Value.String())
		}
	})
	cmd := exec.Command("go", append(append(args, "-args"), own...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "run the tests with the tag synctests:", err)
		os.Exit(1)
	}
}
