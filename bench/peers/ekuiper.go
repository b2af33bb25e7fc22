package peers

import (
	"context"

	"github.com/weir-stream/weir/bench/contender"
)

// EKuiper takes part in nothing, and says why.
func EKuiper() contender.Contender {
	return contender.Contender{
		Name: "ekuiper", About: "eKuiper",
		Command: func(_ context.Context, t contender.Task) (contender.Command, error) {
			switch t.Case.Name {
			case "sensors":
				return contender.Command{}, contender.Cannot("it has one watermark over all partitions, by the partition that was read furthest, so the others are late: of 8 partitions it counted 12 %% of the events")
			case "project":
				return contender.Command{}, contender.Cannot("without a group it reads one partition, from its end, and with one it commits every record by itself; rules for it are not written")
			}
			return contender.Command{}, contender.Cannot("nothing is written for it")
		},
	}
}
