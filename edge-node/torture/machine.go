package torture

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// load is the load averages, or nothing where the system does not tell.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}

// machine is what figures were measured on, as far as the system tells.
var machine = sync.OnceValue(func() string {
	s := fmt.Sprintf("%d cores", runtime.NumCPU())
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		s += " of " + model
	}
	if kib, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		s += fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
	}
	return s + ", " + runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()
})

// field is the first value of a name in a file of lines "name : value".
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if is, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(is) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
