package web

import (
	"encoding/hex"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-stream/weir/edge-node/engine"
	"github.com/weir-stream/weir/edge-node/pipeline"
	"github.com/weir-stream/weir/operators"
	"github.com/weir-stream/weir/sink"
)

// collector reads the counters of the pipelines when Prometheus asks: nothing is counted twice on the hot path.
type collector struct {
	pipelines []Pipeline
	modules   *pipeline.Modules // may be nil
	store     *pipeline.Store   // may be nil
	version   string
}

// metric is one family: the value is read from a status.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(T) float64
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_"+name, help, labels, nil)
}

var (
	byPipeline  = []string{"pipeline"}
	byPartition = []string{"pipeline", "topic", "partition"}
	byStep      = []string{"pipeline", "step"}

	buildInfo    = desc("build_info", "The version of weir; always 1.", "version", "go")
	pipelineTag  = desc("pipeline_tag", "A tag of a pipeline, to join by; always 1.", "pipeline", "key", "value")
	pipelineInfo = desc("pipeline_info", "The revision a pipeline runs; always 1.", "pipeline", "revision")
	rejected     = desc("rejected_total", "Records and rows that went to dead letters, by reason; late ones among them.", "pipeline", "reason")
	shipped      = desc("rows_shipped_total", "Rows of windows acknowledged: live as they were aggregated, backlog from the node's disk.", "pipeline", "kind")
	failures     = desc("sink_failures_total", "Failed attempts to store, by class: retry, stop (needs a person), reject.", "pipeline", "class")
)

var laneMetrics = []metric[engine.LaneStatus]{
	{desc("source_records_total", "Records read and processed.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Records) }},
	{desc("source_bytes_total", "Bytes of the values of those records.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Bytes) }},
	{desc("source_replayed_records_total", "Records read again to rebuild windows after a restart or rebalance.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Replayed) }},
	{desc("source_lag_records", "Records of the partition that are not processed yet.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return float64(s.Lag) }},
	{desc("source_offset", "Offset after the last record processed.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return float64(s.Position) }},
	{desc("source_pauses_total", "Times the partition was paused because the lane had enough.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Pauses) }},
	{desc("source_gaps_total", "Times offsets were missing from the log.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Gaps) }},
	{desc("partition_owned", "1 while this node owns the partition.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return truth(s.Owned) }},
	{desc("batches_total", "Batches processed.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Batches) }},
	{desc("batch_busy_seconds_total", "Time spent decoding, in steps and in windows.", byPartition...), counter, func(s engine.LaneStatus) float64 { return s.Busy.Seconds() }},
	{desc("rows_aggregated_total", "Rows taken into windows.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Aggregated) }},
	{desc("rows_overflowed_total", "Rows in windows whose keys were beyond max_keys.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Overflowed) }},
	{desc("early_segments_total", "Segments that began early because open windows needed more memory than limits.state.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Early) }},
	{desc("rows_late_total", "Rows behind the allowed lateness.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Late) }},
	{desc("rows_filtered_total", "Rows that steps dropped on purpose.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Filtered) }},
	{desc("rows_expanded_total", "Rows that steps added.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Expanded) }},
	{desc("windows_open", "Windows that still take rows.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return float64(s.Windows) }},
	{desc("groups_open", "Keys in open windows.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return float64(s.Groups) }},
	{desc("saves_total", "Times the partition was saved to the local store.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Saves) }},
	{desc("rows_lost_total", "Rows of windows that were not final when the log lost the records they need.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Lost) }},
	{desc("rows_dropped_total", "Rows of windows that were dropped because the local store was full.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Dropped) }},
	{desc("rows_merged_total", "Rows of windows that became part of those of wider windows because the local store was full.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Merged) }},
	{desc("backlog_rows", "Rows and dead letters that wait in the local store for ClickHouse, about.", byPartition...), gauge, func(s engine.LaneStatus) float64 { return float64(s.Backlog) }},
	{desc("cuts_total", "Cuts handed to delivery.", byPartition...), counter, func(s engine.LaneStatus) float64 { return float64(s.Cuts) }},
}

var oldest = desc("backlog_oldest_window_timestamp_seconds", "Start of the oldest closed window that waits in the local store.", byPartition...)

var watermark = desc("watermark_timestamp_seconds", "Event time up to which the partition is complete but for late rows.", byPartition...)

var pipelineMetrics = []metric[pipeline.Status]{
	{desc("ready", "1 when the pipeline does its work; /readyz says why not.", byPipeline...), gauge, func(s pipeline.Status) float64 { return truth(len(s.Problems) == 0) }},
	{desc("queue_bytes", "Bytes of records waiting in lanes.", byPipeline...), gauge, func(s pipeline.Status) float64 { return float64(s.Engine.QueuedBytes) }},
	{desc("state_bytes", "Estimated bytes of window state.", byPipeline...), gauge, func(s pipeline.Status) float64 { return float64(s.Engine.StateBytes) }},
	{desc("swaps_total", "Versions of the pipeline that took the place of another while it ran.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Swaps) }},
	{desc("swap_failures_total", "Versions that were refused; the one before went on.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Refused) }},
	{desc("swapping_partitions", "Partitions that still run an older version than the newest.", byPipeline...), gauge, func(s pipeline.Status) float64 { return float64(s.Engine.Moving) }},
	{desc("source_errors_total", "Failures to read.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Engine.SourceErrors) }},
	{desc("commits_total", "Partition offsets committed.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Engine.Commits) }},
	{desc("commit_failures_total", "Commits that failed; they are tried again.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Engine.CommitErrors) }},
	{desc("sink_cuts_total", "Cuts acknowledged.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Delivery.Cuts) }},
	{desc("sink_rows_total", "Rows of windows acknowledged.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Delivery.Rows) }},
	{desc("sink_bytes_total", "Bytes of those rows before encoding and compression.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Delivery.Bytes) }},
	{desc("dead_letters_total", "Dead letters acknowledged.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Delivery.DeadLetters) }},
	{desc("sink_attempts_total", "Attempts to store.", byPipeline...), counter, func(s pipeline.Status) float64 { return float64(s.Delivery.Attempts) }},
	{desc("sink_pending_cuts", "Cuts that are not acknowledged.", byPipeline...), gauge, func(s pipeline.Status) float64 { return float64(s.DeliveryStatus.Pending) }},
}

var heldUntil = desc("sink_held_until_timestamp_seconds", "When the shipping hours begin that a pipeline waits for; absent when it does not.", byPipeline...)

var lastAck = desc("sink_last_ack_timestamp_seconds", "When something was last acknowledged.", byPipeline...)

var stepMetrics = []metric[engine.StepStatus]{
	{desc("step_rows_in_total", "Rows given to the step; records to decode.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.In) }},
	{desc("step_rows_out_total", "Rows the step gave; by the window, those of its cuts.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Out) }},
	{desc("step_rows_rejected_total", "Rows the step rejected; late ones by the window.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Rejected) }},
	{desc("step_bytes_in_total", "Bytes of the rows given to the step, as Arrow columns; of the records' values to decode.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.BytesIn) }},
	{desc("step_bytes_out_total", "Bytes of the rows the step gave, as Arrow columns.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.BytesOut) }},
	{desc("step_batches_total", "Batches given to the step.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Batches) }},
	{desc("step_seconds_total", "Time spent in the step.", byStep...), counter, func(s engine.StepStatus) float64 { return s.Time.Seconds() }},
	{desc("step_nulled_values_total", "Values that became null because the new type could not hold them.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Nulled) }},
}

// operatorMetrics are of the steps that run a module.
var operatorMetrics = []metric[engine.StepStatus]{
	{desc("operator_bytes_copied_total", "Bytes copied between the batch pool and a sandbox; 0 for steps where memory is shared.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.BytesCopied) }},
	{desc("operator_instances_total", "Sandboxes started.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Instances) }},
	{desc("operator_fuel_total", "What the operator's sandboxes ran, in WebAssembly instructions or about.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Fuel) }},
	{desc("operator_instances", "Sandboxes that live.", byStep...), gauge, func(s engine.StepStatus) float64 { return float64(s.Usage.Instances - s.Usage.Ended) }},
	{desc("operator_retries_total", "Calls of an operator that were made once more, in a fresh sandbox.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Retries) }},
	{desc("operator_verify_checked_total", "Batches of an operator that were run again in the interpreter (verify).", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Verified) }},
	{desc("operator_verify_differed_total", "Batches of an operator that became something else in the interpreter.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Differed) }},
	{desc("operator_input_pages_written_total", "Pages of its input that an operator was found to have stored into, which it must not.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Stores) }},
	{desc("operator_log_lines_dropped_total", "Lines of an operator that were not logged because they were too many.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.LogDropped) }},
	{desc("operator_traps_total", "Calls of an operator that ended in a trap.", byStep...), counter, func(s engine.StepStatus) float64 { return float64(s.Usage.Traps) }},
}

var byOutput = []string{"pipeline", "topic"}

var outputMetrics = []metric[pipeline.OutputStatus]{
	{desc("output_windows_total", "Windows that were final and sent to a topic, as often as the steps of the output make rows of them.", byOutput...), counter, func(s pipeline.OutputStatus) float64 { return float64(s.Sent) }},
	{desc("output_left_out_total", "Windows that were final and of which the condition of the output is not true, or that its steps left out.", byOutput...), counter, func(s pipeline.OutputStatus) float64 { return float64(s.Left) }},
	{desc("output_rejected_total", "Windows that were final and that a step of the output cannot handle; they are logged and not sent.", byOutput...), counter, func(s pipeline.OutputStatus) float64 { return float64(s.Rejected) }},
	{desc("output_failures_total", "Attempts to send windows that failed; they are tried again.", byOutput...), counter, func(s pipeline.OutputStatus) float64 { return float64(s.Failures) }},
}

var moduleMetrics = []metric[pipeline.ModulesStatus]{
	{desc("wasm_modules", "Wasm modules whose compiled code is in memory."), gauge, func(s pipeline.ModulesStatus) float64 { return float64(s.Modules) }},
	{desc("wasm_compiled_total", "Wasm modules that were compiled."), counter, func(s pipeline.ModulesStatus) float64 { return float64(s.Compiled) }},
	{desc("wasm_cache_hits_total", "Steps whose module was compiled already, for another step."), counter, func(s pipeline.ModulesStatus) float64 { return float64(s.Hits) }},
	{desc("wasm_cache_disk_hits_total", "Wasm modules whose code came from wasm_cache."), counter, func(s pipeline.ModulesStatus) float64 { return float64(s.DiskHits) }},
	{desc("wasm_cache_damaged_total", "Files of wasm_cache that this node did not write so; they were set aside, not run."), counter, func(s pipeline.ModulesStatus) float64 { return float64(s.Damaged) }},
}

var storeMetrics = []metric[pipeline.StoreStatus]{
	{desc("store_bytes", "Bytes of disk that the local store takes."), gauge, func(s pipeline.StoreStatus) float64 { return float64(s.Bytes) }},
	{desc("store_saved_bytes_total", "Bytes of keys and values that were saved."), counter, func(s pipeline.StoreStatus) float64 { return float64(s.Logical) }},
	{desc("store_written_bytes_total", "Bytes written to the disk for them: over saved bytes it is the wear of flash."), counter, func(s pipeline.StoreStatus) float64 { return float64(s.Written) }},
	{desc("store_full", "1 while the disk of the local store is full."), gauge, func(s pipeline.StoreStatus) float64 { return truth(s.Full) }},
	{desc("store_full_total", "Times the disk was full."), counter, func(s pipeline.StoreStatus) float64 { return float64(s.Fills) }},
	{desc("store_slow_writes_total", "Writes that took longer than 5 s."), counter, func(s pipeline.StoreStatus) float64 { return float64(s.Slow) }},
	{desc("store_damaged", "1 when something was found damaged; the next start sets it aside."), gauge, func(s pipeline.StoreStatus) float64 { return truth(s.Damaged != nil) }},
	{desc("store_set_aside", "1 when the store was found damaged at the start of this process, and a new one begun."), gauge, func(s pipeline.StoreStatus) float64 { return truth(s.SetAside) }},
}

var byCandidate = []string{"pipeline", "step", "candidate"}

var shadowMetrics = []metric[operators.ShadowStatus]{
	{desc("shadow_batches_total", "Batches on which a candidate was compared with the live operator.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.Batches) }},
	{desc("shadow_skipped_batches_total", "Batches that passed a candidate by because it was busy or resting.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.Skipped) }},
	{desc("shadow_failures_total", "Batches a candidate could not be run on.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.Failed) }},
	{desc("shadow_given_up", "1 when a candidate failed too often.", byCandidate...), gauge, func(s operators.ShadowStatus) float64 { return truth(s.GivenUp) }},
	{desc("shadow_rows_total", "Rows of the live operator that were compared.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.Rows) }},
	{desc("shadow_live_fuel_total", "What the live operator ran on the batches compared, in WebAssembly instructions or about.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.LiveFuel) }},
	{desc("shadow_candidate_fuel_total", "What the candidate ran on the same batches.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return float64(s.CandidateFuel) }},
	{desc("shadow_live_seconds_total", "Time the live operator took for the batches compared.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return s.LiveTime.Seconds() }},
	{desc("shadow_candidate_seconds_total", "Time the candidate took for the same batches.", byCandidate...), counter, func(s operators.ShadowStatus) float64 { return s.CandidateTime.Seconds() }},
}

var (
	shadowRows = desc("shadow_differing_rows_total", "Rows and rejects in which a candidate differs, by kind: only_live, only_candidate, changed, reject.",
		"pipeline", "step", "candidate", "kind")
	shadowColumns = desc("shadow_differing_values_total", "Values in which a candidate differs, by column.", "pipeline", "step", "candidate", "column")
)

// collectShadow sends how a candidate does.
func collectShadow(send func(*prometheus.Desc, prometheus.ValueType, float64, ...string), pipeline, step string, s operators.ShadowStatus) {
	candidate := hex.EncodeToString(s.Digest[:8])
	for _, m := range shadowMetrics {
		send(m.desc, m.kind, m.value(s), pipeline, step, candidate)
	}
	for kind, n := range map[string]int64{"only_live": s.OnlyLive, "only_candidate": s.OnlyCandidate, "changed": s.Changed, "reject": s.Rejects} {
		send(shadowRows, counter, float64(n), pipeline, step, candidate, kind)
	}
	for column, n := range s.Columns {
		send(shadowColumns, counter, float64(n), pipeline, step, candidate, column)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector. Series come and go with partitions, so none is promised.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	send(buildInfo, gauge, 1, c.version, runtime.Version())
	if c.store != nil {
		s := c.store.Status()
		for _, m := range storeMetrics {
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(s))
		}
	}
	if c.modules != nil {
		s := c.modules.Status()
		for _, m := range moduleMetrics {
			send(m.desc, m.kind, m.value(s))
		}
	}
	for _, p := range c.pipelines {
		s := p.Status()
		name := s.Pipeline
		send(pipelineInfo, gauge, 1, name, sink.RevisionText(s.Revision))
		for _, t := range s.Tags {
			send(pipelineTag, gauge, 1, name, strings.ToValidUTF8(t.Key, "\uFFFD"), strings.ToValidUTF8(t.Value, "\uFFFD"))
		}
		for _, m := range pipelineMetrics {
			send(m.desc, m.kind, m.value(s), name)
		}
		for _, class := range []sink.Class{sink.Retry, sink.Stop, sink.Reject} {
			send(failures, counter, float64(s.Delivery.Failures[class]), name, class.String())
		}
		send(shipped, counter, float64(s.Delivery.Rows-s.Delivery.Backlog), name, "live")
		send(shipped, counter, float64(s.Delivery.Backlog), name, "backlog")
		if held := s.DeliveryStatus.Held; !held.IsZero() {
			send(heldUntil, gauge, float64(held.Unix()), name)
		}
		if !s.Delivery.LastAck.IsZero() {
			send(lastAck, gauge, float64(s.Delivery.LastAck.UnixMilli())/1e3, name)
		}
		for _, o := range s.Outputs {
			for _, m := range outputMetrics {
				send(m.desc, m.kind, m.value(o), name, o.Topic)
			}
		}
		for _, step := range slices.Concat(s.Engine.Steps, s.OutputSteps) {
			for _, m := range stepMetrics {
				send(m.desc, m.kind, m.value(step), name, step.Name)
			}
			if step.Shadow != nil {
				collectShadow(send, name, step.Name, *step.Shadow)
			}
			if step.Digest == "" {
				continue
			}
			for _, m := range operatorMetrics {
				send(m.desc, m.kind, m.value(step), name, step.Name)
			}
		}
		reasons := map[string]int64{}
		for _, lane := range s.Engine.Lanes {
			id := strconv.Itoa(int(lane.Partition.ID))
			for _, m := range laneMetrics {
				send(m.desc, m.kind, m.value(lane), name, lane.Partition.Topic, id)
			}
			if !lane.Oldest.IsZero() {
				send(oldest, gauge, float64(lane.Oldest.UnixMilli())/1e3, name, lane.Partition.Topic, id)
			}
			if !lane.Watermark.IsZero() {
				send(watermark, gauge, float64(lane.Watermark.UnixMilli())/1e3, name, lane.Partition.Topic, id)
			}
			for r, n := range lane.Rejected {
				reasons[string(r)] += n
			}
		}
		for r, n := range reasons {
			send(rejected, counter, float64(n), name, r)
		}
	}
}
