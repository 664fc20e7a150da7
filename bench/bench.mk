# The side-by-side bench; included by the Makefile. What it installs and builds lives below build/bench.

BENCH_TOOLS := build/bench
# Where a round's figures go; BENCH_FLAGS='-cases a,b -peers haproxy,tollgate -rounds 3' narrows a run.
BENCH_RESULTS ?= bench/results
BENCH_FLAGS   ?=

# `make target TARGET_FLAGS='-delay 5ms -limit 100/s,200'`
TARGET_FLAGS ?=

.PHONY: bench bench-adaptive bench-growth bench-latency bench-quick bench-deps bench-tools target target-test
bench: bench-deps
	@$(AGAIN) $(JOBS) all bench-tools
	@$(BENCH_TOOLS)/compare -tollgate $(OUT)/tollgate -results $(BENCH_RESULTS) $(BENCH_FLAGS)

# tollgate, while connections, routes, keys, streams, workers grow; plots beside the figures.
bench-growth: bench-deps
	@$(AGAIN) $(JOBS) all bench-tools
	@$(BENCH_TOOLS)/compare -growth -rounds 3 -window 2s -tollgate $(OUT)/tollgate -results $(BENCH_RESULTS) $(BENCH_FLAGS)

# What each peer adds to the latency of a direct call, at fixed rates.
bench-latency: bench-deps
	@$(AGAIN) $(JOBS) all bench-tools
	@$(BENCH_TOOLS)/compare -latency -tollgate $(OUT)/tollgate -results $(BENCH_RESULTS) $(BENCH_FLAGS)

# tollgate alone, before a backend that is asked for five times what it can do, with and without `concurrency`.
bench-adaptive: deps
	@$(AGAIN) $(JOBS) all bench-tools
	@$(BENCH_TOOLS)/compare -adaptive -peers tollgate -tollgate $(OUT)/tollgate -results $(BENCH_RESULTS) $(BENCH_FLAGS)

# One short round: right to see that all works and roughly where things stand, too short to judge by.
bench-quick: bench-deps
	@$(AGAIN) $(JOBS) all bench-tools
	@$(BENCH_TOOLS)/compare -quick -tollgate $(OUT)/tollgate -results $(BENCH_TOOLS)/results $(BENCH_FLAGS)

bench-deps: deps
	@bench/install

# Go knows what is stale better than make does.
bench-tools:
	@mkdir -p $(BENCH_TOOLS)
	@cd bench && PATH="$$(../tests/toolchain):$$PATH" && \
	  go build -o ../$(BENCH_TOOLS)/load ./load && go build -o ../$(BENCH_TOOLS)/backend ./backend && \
	  go build -o ../$(BENCH_TOOLS)/compare ./run && go build -o ../$(BENCH_TOOLS)/target ./target

# Something for other load generators to aim at, until interrupted.
target: deps
	@$(AGAIN) $(JOBS) all bench-tools
	@exec $(BENCH_TOOLS)/target -tollgate $(OUT)/tollgate $(TARGET_FLAGS)

target-test:
	@cd bench && go vet ./... && go test -count=1 ./...
