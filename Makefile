# make mount    set up, build, and mount an ipcfs at IPC (/tmp/ipc for root, your own directory for others)
# make umount   take it off again
# make test     set up and run all checks, on real mounts
# make bench    measure
# make storm    1,000,000 messages and 20,000 kills on one mailbox, and the account of them
# make sim      check the simulated kernel in 10,000 random runs of each kind of object
# make explore  check it in all runs of random small programs
# make mutants  put deliberate bugs into the sources of objects, one after the other, for the tests to find
# make truth    compare what generated scenarios come to: simulated, on a mount, with what the kernel has
# make install  the command to PREFIX/bin (/usr/local/bin), its manual to PREFIX/share/man

# A mount of one user's keeps others out of its directory, so each has one: the XDG Base
# Directory Specification's for what lives as long as a login.
IPC        ?= $(shell if [ "$$(id -u)" = 0 ]; then echo /tmp/ipc; else echo "$${XDG_RUNTIME_DIR:-/tmp/ipc-$$(id -u)}/ipc"; fi)
MOUNT_OPTS ?=
PREFIX     ?= /usr/local
DESTDIR    ?=
GO         ?= go
VERSION    ?= $(shell git describe --tags --dirty 2>/dev/null)
BIN        := bin/ipcfs

# A build asks git for the commit and fails where git refuses, in a tree of another user's say.
export GOFLAGS := $(GOFLAGS) -buildvcs=$(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo auto || echo false)
LDFLAGS    = $(if $(VERSION),-X main.version=$(VERSION))
TEST_FLAGS = -timeout 20m

.DEFAULT_GOAL := build
.PHONY: build mount umount test bench storm sim explore mutants truth install clean setup-go setup-fuse setup-test

build: setup-go
	@mkdir -p bin
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/ipcfs

mount: setup-fuse build
	@if [ -e '$(IPC)/.ipcfs/version' ]; then \
		echo 'An ipcfs is already mounted at $(IPC).'; \
	else \
		[ -d '$(IPC)' ] || (umask 077 && mkdir -p "$$(dirname '$(IPC)')") && mkdir -p '$(IPC)' 2>/dev/null || :; \
		$(BIN) mount $(if $(MOUNT_OPTS),-o '$(MOUNT_OPTS)') '$(IPC)' && echo 'Mounted at $(IPC).'; \
	fi
	@echo 'Try:'
	@echo '  echo hello > $(IPC)/mailboxes/jobs         # send a message'
	@echo '  cat $(IPC)/mailboxes/jobs                  # receive it'
	@echo '  cat $(IPC)/mailboxes/jobs &                # wait for the next one'
	@echo '  cat $(IPC)/.ipcfs/waiters                  # see who waits'
	@echo '  echo world > $(IPC)/mailboxes/jobs         # and wake it'
	@echo 'The program is $(abspath $(BIN)); make install puts it into $(PREFIX)/bin.'
	@echo 'To end it: make umount$(if $(filter command environment,$(firstword $(origin IPC))), IPC=$(IPC))'

umount: build
	@$(BIN) umount '$(IPC)'

# Race detector first; then without it and on one processor, where other interleavings happen.
test: setup-fuse setup-test setup-go
	@unformatted=$$(gofmt -l .) && if [ -n "$$unformatted" ]; then echo "gofmt wants to change:" $$unformatted >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@skipped=$$(mktemp) && export IPCFS_TESTS_SKIPPED=$$skipped && trap 'rm -f $$skipped' EXIT && set -x && \
		CGO_ENABLED=1 $(GO) test -race -count=1 $(TEST_FLAGS) ./... && \
		GOMAXPROCS=1 $(GO) test -count=1 $(TEST_FLAGS) ./... && \
		set +x && if [ -s $$skipped ]; then \
			sort -u $$skipped -o $$skipped; \
			echo "Skipped, for they need root: $$(wc -l <$$skipped) tests:" $$(cat $$skipped); \
		fi

bench: setup-fuse setup-go
	$(GO) run ./tests/bench

# Longer than make test by so many times.
STORM_SCALE ?= 100
storm: setup-fuse setup-test setup-go
	@IPCFS_STORM_SCALE=$(STORM_SCALE) $(GO) test ./tests -run StormLosesAndDoublesNothing -count=1 -timeout 2h -v

sim: setup-go
	$(GO) test ./kernelsim/laws -count=1 $(TEST_FLAGS) -seeds 10000

explore: setup-go
	$(GO) test ./kernelsim/laws -run LawsHoldInEveryRun -count=1 $(TEST_FLAGS) -cases 10

# Whether the tests find deliberate bugs in the sources of objects: make test tries a sample. MUTANTS is a
# regular expression of names and places, as 'Mailbox.admit' or 'pipe/'.
MUTANTS ?= .
mutants: setup-go
	$(GO) test ./kernelsim/mutants -run TestsFindMutants -count=1 -timeout 24h -mutants '$(MUTANTS)'

# Longer than make test by so many scenarios.
TRUTH ?= 1000
truth: setup-fuse setup-test setup-go
	$(GO) test ./tests -run 'RunsOfGeneratedScenarios' -count=1 -timeout 2h -truth $(TRUTH) -v

install: build
	install -D -m 755 $(BIN) '$(DESTDIR)$(PREFIX)/bin/ipcfs'
	install -D -m 644 docs/ipcfs.1 '$(DESTDIR)$(PREFIX)/share/man/man1/ipcfs.1'
	install -D -m 644 docs/ipcfs.7 '$(DESTDIR)$(PREFIX)/share/man/man7/ipcfs.7'

clean:
	rm -rf bin

setup-go:
	@command -v $(GO) >/dev/null || { echo 'make: Go 1.26 or later is needed' >&2; exit 1; }

# packages MISSING: install these Debian packages, or say what is missing.
packages = \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing:$$missing"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >&2 </dev/null; \
	else \
		echo "make: missing packages (Debian names), to be installed by root:$$missing" >&2; exit 1; \
	fi

setup-fuse:
	@missing=; \
	command -v fusermount3 >/dev/null || missing="$$missing fuse3"; \
	[ -z "$$missing" ] || { $(packages); }
	@[ -e /dev/fuse ] || { [ "$$(id -u)" = 0 ] && modprobe fuse 2>/dev/null && [ -e /dev/fuse ]; } || \
		{ echo 'make: no /dev/fuse: load the module fuse, or give the container that device and CAP_SYS_ADMIN' >&2; exit 1; }

setup-test:
	@missing=; \
	command -v python3 >/dev/null || missing="$$missing python3"; \
	command -v gcc >/dev/null || missing="$$missing gcc"; \
	command -v tmux >/dev/null || missing="$$missing tmux"; \
	echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 || missing="$$missing libc6-dev"; \
	[ -z "$$missing" ] || { $(packages); }
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && missing=' chromium' && { $(packages); }; } || \
		echo 'make: no Chromium: NOBODY LOOKS AT THE PAGE that simulate --html writes' >&2
	@command -v mandoc >/dev/null || command -v man >/dev/null || \
		echo 'make: neither mandoc nor man: NOBODY CHECKS THE MARKUP of the manual pages' >&2
