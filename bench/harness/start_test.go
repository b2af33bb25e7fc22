package harness

import (
	"testing"
	"time"
)

func TestPhasesOf(t *testing.T) {
	log := `not JSON
{"time":"2026-01-02T03:04:05.010Z","level":"DEBUG","msg":"start","phase":"configured"}
{"time":"2026-01-02T03:04:05.020Z","level":"INFO","msg":"starting","phase":"no"}
{"time":"2026-01-02T03:04:05.050Z","level":"DEBUG","msg":"start","pipeline":"p","phase":"record"}
{"time":"2026-01-02T03:04:06.000Z","level":"DEBUG","msg":"start","pipeline":"q","phase":"record"}
{"time":"2026-01-02T03:0`
	at := phasesOf(log, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	if len(at) != 2 || at["configured"] != 10 || at["record"] != 50 {
		t.Errorf("%v", at)
	}
}
