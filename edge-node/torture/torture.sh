#!/usr/bin/env bash
# What make torture runs: one stage after the other, each to its end even where one before has failed, since every figure is worth
# having. Then the table of all figures, and the page RESULTS.md. Ends with 1 where a stage or a figure failed.
#
#	edge-node/torture/torture.sh RESULTS.jsonl SEEDS SEED
#
# What the stages print is in RESULTS.jsonl.STAGE.log.
set -uo pipefail
results=$1 seeds=$2 seed=$3
go=${GO:-go}
export WEIR_TORTURE=1 WEIR_TORTURE_RESULTS=$results
began=$SECONDS failed=()

say() { printf 'torture: %3d min: %s\n' $(((SECONDS - began) / 60)) "$1"; }

# stage NAME ABOUT COMMAND...
stage() {
	local name=$1 about=$2 log=$results.$1.log from=$SECONDS
	shift 2
	say "$name: $about"
	if "$@" >"$log" 2>&1; then
		say "$name: done in $((SECONDS - from)) s"
	else
		failed+=("$name")
		say "$name: FAILED after $((SECONDS - from)) s; the end of $log:"
		grep -E '^ *(--- FAIL|[a-z_]+_test\.go:[0-9]+:|FAIL|panic:)' "$log" | tail -n 40
	fi
	# go test says nothing of what it skipped where something else ran.
	grep -E '^ *[a-z_]+_test\.go:[0-9]+: SKIPPED' "$log"
}

test() { "$go" test -count=1 -v "$@"; }

mkdir -p "$(dirname "$results")"
rm -f "$results" "$results".*.log
# Figures first, while the machine has done nothing for a while.
stage figures 'crash to first record, throughput, wear, hand-over (6 min)' \
	test -timeout 30m -run '^Test(CrashToFirstRecord|StoreThroughput|StoreWear|HandOver)$' ./edge-node/endtoend
stage schedules "$seeds simulated schedules from $seed on (15 min for 10,000)" \
	test -timeout 120m -run '^TestSchedules$' ./edge-node/simulation -args "-seed=$seed" "-seeds=$seeds"
stage soak 'mutants that must be caught, what was found before, 72 h without the centre (3 min)' \
	test -timeout 20m -run '^Test(Controls|Found|Soak)$' ./edge-node/simulation
stage store 'power cuts and turned bits (3 min)' test -timeout 30m -run 'PowerCuts|BitFlips|TestLane' ./sink/spool
stage engine 'lanes killed with full and with lost disks (2 min)' test -timeout 20m -run 'LocalKilled|FullKilled' ./edge-node/engine
stage processes 'kills at every point, zombies, networks, disks that fill and lose power (12 min)' \
	test -timeout 60m -run '^Test(Points|Zombies|FaultyNetwork|BlackHole|StorePowerCuts|StateDiskFull)$' ./edge-node/endtoend
if command -v java >/dev/null && command -v mvn >/dev/null; then
	stage handover 'hand-over on Apache Kafka, with nothing beside it (5 min)' test -timeout 40m -parallel 1 -run '^TestApache$/^groups$/^handover$' ./edge-node/endtoend
	stage kafka 'everything else against Apache Kafka (15 min)' test -timeout 40m -run 'Apache' -skip '^TestApache$/^groups$/^handover$' ./edge-node/endtoend
else
	say 'kafka: SKIPPED, there is no Java or no Maven'
	if [[ -n ${CI:-} ]]; then failed+=(kafka); fi
fi
say 'all figures:'
"$go" run ./edge-node/torture/table -page edge-node/torture/RESULTS.md -command "make torture SEEDS=$seeds SEED=$seed" "$results" || failed+=(figure)
if ((${#failed[@]})); then
	say "FAILED: ${failed[*]}"
	exit 1
fi
say 'all is well'
