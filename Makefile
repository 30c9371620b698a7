# SPDX-License-Identifier: Apache-2.0
#
# Everything a developer or a CI machine does goes through the targets below; `make help` lists them.
# Go and make are enough for build, run, demo and check. `make test` installs the few further programs
# that tests run, with apt, when they are missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO     ?= go
BIN    := $(CURDIR)/bin
TOOLS  := $(CURDIR)/.bin

# The version in the programs: a VERSION file (a source release has one), else what git says, else "dev".
VERSION ?= $(shell cat VERSION 2>/dev/null || git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD  = CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

# Tools are built from source through the Go module proxy and kept in .bin under their version.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

# What the tests need beyond Go, as program-or-file:debian-package. The race detector needs a C compiler.
TEST_NEEDS := openssl:openssl redis-server:redis-server gcc:gcc qemu-system-x86_64:qemu-system-x86 xz:xz-utils lz4:lz4 zstd:zstd

# What the virtual machines of tests/host are made of. These packages of Debian are unpacked here, never
# installed: the newest of the cloud kernels, and a shell.
GUEST := $(CURDIR)/.cache/guest

# fio with the libraries it needs, which those machines run: unpacked, never installed.
FIO := $(CURDIR)/.cache/fio

# The ordinary kernel of Debian, for the machines of `make test-rdma`: unpacked, never installed.
RDMA := $(CURDIR)/.cache/guest-rdma

# One package of tests may take this long under the race detector before it counts as hung.
TEST_TIMEOUT ?= 30m

# The folders that hold Go.
CODE := $(wildcard cmd deploy pkg proto tests)

PROGRAMS := $(notdir $(wildcard cmd/*))

##@ Build and try

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build all programs into bin/
	@mkdir -p $(BIN)
	$(GOBUILD) -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

.PHONY: run
run: build ## Start a storage node and a DPU on loopback, until Ctrl-C; state is kept in .run/
	@$(GOBUILD) -o $(BIN)/local ./deploy/local
	@exec $(BIN)/local run --bin $(BIN) --dir .run

.PHONY: demo
demo: build ## Show by itself that a disk survives crashes of bridge and data plane (under a minute)
	@$(GOBUILD) -o $(BIN)/local ./deploy/local
	@exec $(BIN)/local demo --bin $(BIN)

##@ Check

.PHONY: check
check: vet format-check house ## Fast: vet, format, house rules, lint (when installed), the rooms' tests without -race
	@if [ -x $(GOLANGCI) ]; then $(GOLANGCI) run ./...; \
	else echo 'lint: not installed here yet, `make lint` installs it'; fi
	$(GO) test -short -timeout 5m ./pkg/... ./cmd/...

.PHONY: test
test: test-needs generate-check lint ## Everything: generated code is current, lint, all tests under -race
	$(GO) test -race -timeout $(TEST_TIMEOUT) $$($(GO) list ./... | grep -v /tests/)
	@# Whole systems, guests among them: one package at a time, so that none starves another on two cores.
	$(GO) test -race -p 1 -timeout $(TEST_TIMEOUT) ./tests/...

.PHONY: test-hosts
test-hosts: test-needs ## Only the tests with Linux guests as hosts and storage nodes, with what they measure
	$(GO) test -race -v -count=1 -timeout $(TEST_TIMEOUT) ./tests/host/...

# What Debian 12 has not is given: QEMU=/path/of/qemu-system-x86_64 (10.1 or later) and SPDK=/path/of/spdk_tgt.
.PHONY: test-vfio-user
test-vfio-user: test-needs ## NVMe on PCIe in a guest: QEMU=path (10.1 on) SPDK=path; UNPLUG=1 when that QEMU survives unplugging
	$(GO) test -race -v -count=1 -timeout $(TEST_TIMEOUT) -tags vfiouser ./tests/host -run '^TestVfioUser' \
		-vfio-user.qemu '$(QEMU)' -vfio-user.spdk '$(SPDK)' $(if $(UNPLUG),-vfio-user.unplug)

# Debian has no SPDK with RDMA: SPDK=/path/of/spdk_tgt, which finds its libraries (LD_LIBRARY_PATH). The machines
# get RDMA in software, for which the cloud kernel has no module.
.PHONY: test-rdma
test-rdma: TEST_NEEDS += rdma:iproute2 /etc/libibverbs.d/rxe.driver:ibverbs-providers
test-rdma: test-needs $(RDMA) ## NVMe over RDMA and TCP between two guests on soft-RoCE: SPDK=path of one built with RDMA
	$(GO) test -race -v -count=1 -timeout $(TEST_TIMEOUT) -tags rdma ./tests/host -run '^TestRDMA' -rdma.spdk '$(SPDK)'

# Older SPDKs as opi-dataplane plays them; `make test` runs a part of this.
.PHONY: test-versions
test-versions: test-needs ## The whole suites of driver and API against every version of SPDK that can be played
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./pkg/driver/spdk -run '^TestVersions$$' -versions.whole
	@for version in 24.01 24.05 24.09 25.01 25.05 25.09 26.01 26.05; do \
		echo "conformance on SPDK $$version"; \
		$(GO) test -race -timeout $(TEST_TIMEOUT) ./tests/conformance -spdk-version $$version || exit 1; \
	done

# A program of its own, so that its last line is the count of crash points.
.PHONY: test-crash
test-crash: test-needs ## Kill, cut and restart at every message; CRASH="-crash.full" for all points, CRASH="-crash.seed=N" for those of a run
	@mkdir -p $(BIN)
	$(GO) test -c -o $(BIN)/crash.test ./tests/crash
	@# All points of all faults take hours.
	@cd tests/crash && $(BIN)/crash.test -test.timeout 6h $(CRASH)

.PHONY: test-history
test-history: test-needs ## Random histories under faults, HISTORY=30m of each test (the default), in the end their figures
	@mkdir -p $(BIN)
	$(GO) test -c -o $(BIN)/history.test ./tests/history
	@cd tests/history && $(BIN)/history.test -test.timeout 0 -test.artifacts -test.outputdir $(BIN) -history.time $(or $(HISTORY),30m)

.PHONY: soak
soak: test-needs ## Ten minutes of mixed load with faults at 10,000 disks; looks for what grows
	$(GO) test ./tests/soak -count=1 -v -timeout 60m -soak.disks 10000 -soak.load 10m

.PHONY: lint
lint: $(GOLANGCI) ## Run golangci-lint (installs the pinned version into .bin/ the first time)
	$(GOLANGCI) run ./...

.PHONY: bench
bench: build test-needs ## Measure the targets of the control plane, as Markdown (some 4 minutes); BENCH="--spdk … --start …" for SPDK
	@echo '1,000 disks, one to a subsystem, on a file:'; echo
	@$(GO) run ./tests/bench --disks 1000 $(BENCH)
	@echo '10,000 disks, ten to a subsystem, on a file:'; echo
	@$(GO) run ./tests/bench --disks 10000 --per-subsystem 10 --skip io,hostio,floors $(BENCH)
	@echo '1,000 disks, on Redis that syncs each write:'; echo
	@$(GO) run ./tests/bench --disks 1000 --store redis --skip io,hostio,floors $(BENCH)

.PHONY: bench-code
bench-code: ## Run the benchmarks of the rooms
	$(GO) test -run '^$$' -bench . -benchmem -timeout 60m $$($(GO) list ./... | grep -v /tests/iobench)

.PHONY: bench-io
bench-io: test-needs ## Measure host I/O beside other targets, as Markdown (12 minutes); OPI_SPDK_TGT=path adds SPDK
	@cd tests/iobench && $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m .

##@ Maintain

.PHONY: format
format: $(GOLANGCI) ## Format all Go files as the linter wants them
	$(GOLANGCI) fmt ./...

.PHONY: generate
generate: ## Make the generated code again
	$(GO) generate ./...

.PHONY: clean
clean: ## Remove what was built and the state of `make run`; keeps .bin/
	rm -rf $(BIN) .run

# What the targets above are made of.

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: format-check
format-check:
	@bad=$$(gofmt -l $(CODE)); \
	if [ -n "$$bad" ]; then echo "not formatted, run \`make format\`:"; echo "$$bad"; exit 1; fi

.PHONY: house
house:
	$(GO) test ./tests/house/...

# Generates into a copy of the tree and compares, so that it needs no git and leaves this tree alone.
.PHONY: generate-check
generate-check:
	@copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	cp -r go.mod go.sum $(CODE) "$$copy"/; \
	(cd "$$copy" && $(GO) generate ./...); \
	for d in $(CODE); do \
		diff -r "$$d" "$$copy/$$d" || { echo "generated code is not current: run \`make generate\`"; exit 1; }; \
	done

.PHONY: test-needs
test-needs: $(GUEST) $(FIO)
	@missing=(); for need in $(TEST_NEEDS); do \
		command -v "$${need%%:*}" >/dev/null || [ -e "$${need%%:*}" ] || missing+=("$${need##*:}"); \
	done; \
	[ "$${#missing[@]}" -eq 0 ] && exit 0; \
	sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo='sudo -n'; fi; \
	command -v apt-get >/dev/null || { echo "the tests need: $${missing[*]}; please install"; exit 1; }; \
	echo "installing for the tests: $${missing[*]}"; \
	$$sudo apt-get update -qq && \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}"

$(GUEST):
	@command -v apt-get >/dev/null || { echo 'the guests of the tests need packages from Debian, and here is no apt-get'; exit 1; }; \
	kernel() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ {print $$2; exit}'; }; \
	sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo='sudo -n'; fi; \
	fetch() { apt-get download -qq -o APT::Sandbox::User=root "$$(kernel)" busybox-static; }; \
	echo 'fetching for the tests, to be unpacked and not installed: a kernel and busybox'; \
	rm -rf $@.new && mkdir -p $@.new && cd $@.new && \
	{ fetch 2>/dev/null || { $$sudo apt-get update -qq && fetch; }; } && \
	mv $@.new $@

$(RDMA):
	@command -v apt-get >/dev/null || { echo 'the guests of the tests need packages from Debian, and here is no apt-get'; exit 1; }; \
	kernel() { apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ {print $$2; exit}'; }; \
	sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo='sudo -n'; fi; \
	fetch() { apt-get download -qq -o APT::Sandbox::User=root "$$(kernel)"; }; \
	echo 'fetching for the tests, to be unpacked and not installed: a kernel with soft-RoCE'; \
	rm -rf $@.new && mkdir -p $@.new && cd $@.new && \
	{ fetch 2>/dev/null || { $$sudo apt-get update -qq && fetch; }; } && \
	mv $@.new $@

$(FIO):
	@command -v apt-get >/dev/null || { echo 'the guests of the tests need packages from Debian, and here is no apt-get'; exit 1; }; \
	depends='apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances'; \
	libraries() { grep -E '^(lib|zlib)[^:]*$$' | sort -u; }; \
	sudo=; if [ "$$(id -u)" -ne 0 ]; then sudo='sudo -n'; fi; \
	fetch() { \
		direct=$$($$depends fio | awk '/Depends: / {print $$2}' | libraries) && \
		apt-get download -qq -o APT::Sandbox::User=root fio $$($$depends --recurse $$direct | libraries); \
	}; \
	echo 'fetching for the tests, to be unpacked and not installed: fio and its libraries'; \
	rm -rf $@.new && mkdir -p $@.new && cd $@.new && \
	{ fetch 2>/dev/null || { $$sudo apt-get update -qq && fetch; }; } && \
	mv $@.new $@

$(GOLANGCI):
	@mkdir -p $(TOOLS)
	GOBIN=$(TOOLS) $(GO) install -trimpath github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv $(TOOLS)/golangci-lint $@
