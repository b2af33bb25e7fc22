package contender

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-stream/weir/bench/workload"
)

func TestCommands(t *testing.T) {
	cases, err := workload.Select(workload.Cases(), []string{"sensors", "wide"})
	if err != nil {
		t.Fatal(err)
	}
	task := Task{Case: cases[0], Name: "b-sensors-1", Topic: "x", Brokers: []string{"h:1", "h:2"}, ClickHouse: "clickhouse://h:9000/d", Dir: t.TempDir()}
	w, err := Weir("/bin/weir", "/ops").Command(t.Context(), task)
	if err != nil || w.Answer.Table != "b_sensors_1" || !strings.Contains(strings.Join(w.Env, " "), "KAFKA_BROKERS=h:1,h:2") {
		t.Errorf("%+v, %v", w, err)
	}
	b, err := Bare("/bin/weir").Command(t.Context(), task)
	if err != nil || b.Answer != (Answer{}) {
		t.Errorf("%+v, %v", b, err)
	}
	task.Case = cases[1]
	if _, err := Hand("/bin/weir").Command(t.Context(), task); !errors.Is(err, ErrCannot) {
		t.Errorf("a program written for W1 takes part in %s: %v", task.Case.Name, err)
	}
}
