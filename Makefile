# weir: build, test and try. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
# Lint tools are pinned; `go run` fetches and caches them.
GOFUMPT := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

BIN := bin/weir
FUZZTIME ?= 10s
# No test package may hang longer. `make test` as a whole takes about 12 minutes on 2 cores that do nothing else.
TIMEOUT ?= 25m
PACKAGES ?= ./...

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: need-go
need-go:
	@need=$$(awk '$$1 == "go" {print $$2}' go.mod); \
	if ! command -v $(GO) >/dev/null; then \
		echo "weir needs Go $$need or newer, and '$(GO)' is not installed: see https://go.dev/dl" >&2; exit 1; fi; \
	have=$$($(GO) env GOVERSION 2>/dev/null || GOTOOLCHAIN=local $(GO) version | awk '{print $$3}'); have=$${have#go}; have=$${have%% *}; \
	if [ "$$(printf '%s\n%s\n' "$$need" "$$have" | sort -V | head -n 1)" != "$$need" ]; then \
		echo "weir needs Go $$need or newer, and this is $${have:-unknown}: see https://go.dev/dl, or set GOTOOLCHAIN=auto" >&2; exit 1; fi

.PHONY: build
build: need-go ## Build bin/weir, with the embedded ClickHouse for demo and tests (needs glibc to start).
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./edge-node

# The tag leaves the embedded ClickHouse out: loading it is what makes bin/weir need the C library's loader.
.PHONY: dist
dist: need-go ## Build the static binaries for edge boxes, dist/weir-linux-amd64 and -arm64.
	@for arch in amd64 arm64; do \
		echo "dist/weir-linux-$$arch"; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -tags weir_static -trimpath -ldflags "-s -w" -o dist/weir-linux-$$arch ./edge-node; \
	done
	WEIR_DIST="$(CURDIR)/dist" $(GO) test -count=1 -run '^TestStatic' ./deploy

.PHONY: libchdb
libchdb: build ## Fetch the embedded ClickHouse engine, once, into the user's cache.
	$(BIN) embedded fetch

.PHONY: demo
demo: libchdb ## Run the demo: generator, broker, pipeline, ClickHouse, answer.
	$(BIN) demo

.PHONY: test
test: libchdb need-kafka need-pip ## Run all tests.
	$(GO) test -timeout $(TIMEOUT) $(PACKAGES)

# go test keeps to itself what it skipped.
.PHONY: need-kafka
need-kafka:
	@for tool in java mvn; do \
		if ! command -v $$tool >/dev/null; then \
			echo "no $$tool: NOTHING IS TESTED AGAINST APACHE KAFKA (needs Java 17 or newer, and Maven once to fetch the jars)" >&2; \
			if [ -n "$${CI:-}" ]; then exit 1; fi; \
		fi; \
	done

.PHONY: need-pip
need-pip:
	@if ! python3 -m pip --version >/dev/null 2>&1; then \
		echo "no python3 with pip: NO AGGREGATE IS COMPARED WITH CLICKHOUSE'S ANSWERS ABOUT REAL DATA (pip fetches them once)" >&2; \
		if [ -n "$${CI:-}" ]; then exit 1; fi; \
	fi

.PHONY: race
race: libchdb ## Run all tests with the race detector (needs a C compiler).
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(PACKAGES)

.PHONY: check
check: need-go cross dist format vet lint tidy arch operators ## Everything CI holds the tree to, beside the tests.
	@echo "check: all is well"

.PHONY: cross
cross: need-go ## Compile everything for the systems weir runs on.
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 $(GO) build ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 $(GO) build ./...

.PHONY: format
format: need-go ## Name files that gofumpt would change.
	@files=$$($(GOFUMPT) -l .); \
	if [ -n "$$files" ]; then echo "not formatted (run 'make fmt'):" >&2; echo "$$files" >&2; exit 1; fi; echo "format: all is well"

.PHONY: fmt
fmt: need-go ## Format all Go files.
	$(GOFUMPT) -l -w .

.PHONY: vet
vet: need-go ## Run go vet, with the invariants tag too.
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...
	$(GO) vet -tags failpoints ./edge-node/failpoint

.PHONY: lint
lint: need-go ## Run staticcheck.
	$(STATICCHECK) ./...

.PHONY: tidy
tidy: need-go ## Fail when go.mod or go.sum is not tidy.
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: arch
arch: need-go ## Check folders, imports and package comments.
	$(GO) test -count=1 -run 'Architecture' .

.PHONY: operators
operators: need-go ## Rebuild the committed operators and compare (needs clang-19 and lld-19).
	examples/operators/build.sh --check

# Where torture keeps its figures.
RESULTS ?= $(CURDIR)/dist/torture.jsonl
# What the simulation plays: make torture SEEDS=1000 SEED=42
SEEDS ?= 10000
SEED ?= 1

.PHONY: torture
torture: need-go libchdb need-kafka ## Try hard to break weir, and measure: schedules, power cuts, kills (about 40 min, and 15 with Kafka).
	GO="$(GO)" edge-node/torture/torture.sh "$(RESULTS)" $(SEEDS) $(SEED)

.PHONY: torture-short
torture-short: need-go ## The simulation with 1,000 schedules and the mutants, in under 5 minutes.
	@mkdir -p "$(dir $(RESULTS))" && rm -f "$(RESULTS)"
	WEIR_TORTURE_RESULTS="$(RESULTS)" $(GO) test -count=1 -timeout 15m ./edge-node/simulation -args -seeds=1000
	@$(GO) run ./edge-node/torture/table "$(RESULTS)"

.PHONY: torture-processes
torture-processes: libchdb ## Kill and starve real processes of weir at every moment that matters.
	WEIR_TORTURE=1 $(GO) test -count=1 -v -timeout 60m -run '^Test(Points|Zombies|FaultyNetwork|BlackHole|StorePowerCuts|StateDiskFull|CrashToFirstRecord|StoreThroughput|StoreWear|HandOver)$$' ./edge-node/endtoend

.PHONY: torture-kafka
torture-kafka: libchdb need-kafka ## Run everything there is against Apache Kafka: one and three brokers (about 15 minutes).
	WEIR_TORTURE=1 $(GO) test -count=1 -v -timeout 40m -run 'Apache' ./edge-node/endtoend

# More for weir bench: make bench BENCH="--workloads sensors,curves --rounds 9"
BENCH ?=

.PHONY: bench
bench: libchdb ## Measure everything on this machine (about 15 minutes): dist/bench.json and dist/bench.html.
	@mkdir -p dist
	$(BIN) bench --json dist/bench.json --html dist/bench.html --profile dist/profiles $(BENCH)

.PHONY: bench-smoke
bench-smoke: libchdb ## Measure on this machine in about a minute; the last line has the ratios.
	@mkdir -p dist
	$(BIN) bench smoke --json dist/bench-smoke.json

# Fewer records: a ratio is measured about as well, and a start weighs more in it.
.PHONY: bench-ci
bench-ci: libchdb ## The figures of bench-smoke with fewer records: what CI holds a change to.
	@mkdir -p dist
	$(BIN) bench smoke --events 500000 --json dist/bench-smoke.json

.PHONY: bench-groups
bench-groups: libchdb ## Measure windows of few and many keys: ns a row, bytes a group, and the ratio to ClickHouse in the same run (about 4 minutes).
	$(GO) test -run '^$$' -bench 'Groups|AgainstClickHouse|Counted|Sessions' -benchtime 3s -timeout 20m ./operators/window
	$(GO) test -run '^$$' -bench 'Add/(quantile|median|uniq)|TDigest' ./operators/aggregate

.PHONY: fuzz-short
fuzz-short: need-go ## Run every fuzz target for FUZZTIME (10s).
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -rn1 dirname | sort -u | while read -r dir; do \
		for target in $$($(GO) test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$dir"; \
		done; \
	done

.PHONY: clean
clean: ## Remove what was built. The embedded engine stays in the user's cache.
	rm -rf bin dist
