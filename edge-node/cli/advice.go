package cli

import (
	"github.com/weir-stream/weir/edge-node/config"
	"github.com/weir-stream/weir/sink/clickhouse"
)

// accessDenied is ClickHouse's code for a grant that is missing.
const accessDenied = clickhouse.AccessDenied

// advice is what to do about an error of a server or of the way to it, and whether somebody must: it does not pass by itself.
func advice(err error, target config.Secret) (hint string, must bool) {
	return clickhouse.Advice(err, target.Reveal())
}
