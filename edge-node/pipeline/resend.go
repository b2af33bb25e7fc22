package pipeline

import (
	"log/slog"

	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/edge-node/deadletter"
	"github.com/weir-stream/weir/ingest/kafka"
)

// Resender is what sends the dead letters of a pipeline again, to the brokers of its source. The brokers must be known.
func Resender(spec *config.Pipeline, node config.Node, log *slog.Logger) (*kafka.Resender, error) {
	cfg, err := (&Plan{Spec: spec, Node: node}).kafka()
	if err != nil {
		return nil, err
	}
	return kafka.NewResender(cfg, deadletter.TransactionalID(spec.Name), log)
}
