package cli

import "github.com/spf13/cobra"

// helpTopics are pages of help that belong to no command.
func helpTopics() []*cobra.Command {
	return []*cobra.Command{
		{Use: "pipeline", Short: "What a pipeline file looks like", Long: pipelineLong},
		{Use: "environment", Short: "node.yaml and the WEIR_ variables", Long: environmentLong},
		{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesLong},
	}
}

const pipelineLong = `A pipeline file says where records come from, what happens to them, what is
aggregated, and where the answers go. 'weir validate' proves that it fits
together before anything starts.

  pipeline: line-temperature           # a-z, 0-9 and hyphens
  source:
    kafka:
      brokers: ["localhost:9092"]      # or kafka.brokers in node.yaml
      topics: [sensors, "re:^more\\."] # names, and patterns after re:
    format: json
    columns:                           # what to read from a record
      device: string                   # Arrow type names; ? = may be null
      site: string
      status: string?
      ts: timestamp[ms]                # RFC 3339 text, or a number in ms
      temp: {type: float64, path: payload.temp}
      sent: {type: "timestamp[ms]", kafka: timestamp}
  time: {column: ts, max_out_of_order: 2s, allowed_lateness: 1m, max_jump: 1h}
  steps:
    - filter: status == "ok" && temp > -40
    - wasm: {module: calibrate.wasm, config: {offset: 0.4}}
    - map: {temp_f: temp * 9 / 5 + 32}
  window:
    tumbling: 10s                      # or hopping: {size: 1m, every: 10s}
                                       # or calendar: {every: day, timezone: UTC}
                                       # or session: {gap: 5m, max_length: 1d}
                                       # or count: {rows: 100, timeout: 1d}
    group_by: [site, device]
    aggregates: {readings: count(), temp_avg: avg(temp), temp_max: max(temp)}
  sink:
    clickhouse: {url: "clickhouse://weir:${file:/run/secrets/ch}@central:9000/weir"}
  late: {to: dead_letters}             # or drop; counted either way

Text may refer to the environment: ${NAME}, ${NAME:-default}, ${file:/path}.

Types     bool, int8 to int64, uint8 to uint64, float32, float64, string, binary,
          date32, timestamp[s], timestamp[ms], timestamp[us], timestamp[ns],
          list<one of these>
Steps     filter, map, drop, rename, cast, wasm
Functions count sum min max avg sum_kahan var var_pop stddev stddev_pop covar
          covar_pop corr median quantile quantiles quantile_tdigest
          quantiles_tdigest histogram uniq uniq_combined uniq_exact topk first last
          argmin argmax any delta rate time_avg bit_and bit_or bit_xor bool_and
          bool_or sum_map group_bitmap group_array;
          "filter (where …)" behind any: the rows that count
Your own  functions: {dewpoint: {wasm: dewpoint.wasm}}, in filter and map

Editors complete and check pipeline files by a JSON Schema:

  weir validate --print-schema > weir.schema.json

and as the first line of the pipeline:

  # yaml-language-server: $schema=weir.schema.json`

const environmentLong = `What belongs to the box and not to a pipeline is in node.yaml, given by
--config or WEIR_CONFIG. WEIR_ variables go over it, and flags over both.

  site: seattle                 WEIR_SITE        part of every row's identity
  node: box-7                   WEIR_NODE        default: the host's name
  listen: 127.0.0.1:9464        WEIR_LISTEN      metrics and health
  log: {level: info,            WEIR_LOG_LEVEL   debug, info, warn, error
        format: auto}           WEIR_LOG_FORMAT  text, json, auto
  kafka:
    brokers: ["localhost:9092"] WEIR_KAFKA       of pipelines that name none
  clickhouse:
    url: clickhouse://…         WEIR_CLICKHOUSE  of pipelines that name none
  usage_every: 1m               WEIR_USAGE_EVERY what steps use, to ClickHouse
  wasm_cache: /var/lib/weir/wasm
                                WEIR_WASM_CACHE  keeps compiled operators
  idle_after: 1m                WEIR_IDLE_AFTER  then operators free memory
  state_dir: /var/lib/weir/state
                                WEIR_STATE_DIR   open windows and what waits
  limits: {state: 256MiB,       WEIR_STATE       window state of a pipeline
           queue: 32MiB,        WEIR_QUEUE       records waiting for a pipeline
           disk: 2GiB}          WEIR_DISK        most disk of state_dir

Others:

  WEIR_LIBCHDB    file with the engine of the embedded ClickHouse, instead of
                  fetching it
  NO_COLOR        no colours`
