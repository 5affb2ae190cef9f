# SPDX-License-Identifier: Apache-2.0

PREFIX ?= /usr
DESTDIR ?=
PAM_MODULE_DIR ?= $(patsubst %/pam_unix.so,%,$(firstword $(wildcard /usr/lib/*/security/pam_unix.so /lib/*/security/pam_unix.so /usr/lib64/security/pam_unix.so /lib/security/pam_unix.so)))
GO ?= go
# The version that the next tag gets; NEWS.md has the same.
RELEASE = v0.1.0
# What `berth --version` says: git's tag where there is one. A build without git names both: make VERSION=... COMMIT=...
VERSION ?= $(or $(shell git describe --tags --match 'v[0-9]*' 2>/dev/null),$(RELEASE))
COMMIT ?= $(shell git describe --always --exclude '*' --abbrev=40 --dirty 2>/dev/null)
# No path of the builder's, and nothing that git alone knows, is in a program.
GOBUILD = $(GO) build -trimpath -buildvcs=false
LDFLAGS = -ldflags '-s -w'
# `make COVER=1 build` builds into build/cover what says which of its lines ran.
BUILD = build$(if $(COVER),/cover)
comma = ,
COVERFLAGS = $(if $(COVER),-cover -covermode=atomic)
TAGS = $(COVERFLAGS) -tags '$(if $(COVER),coverage$(comma))'
RELRO = -Wl,-z,relro,-z,now
# What is built and has C in it, with its guards (scripts/hardening).
HARDENED = pie-go:$(BUILD)/berth static:$(BUILD)/berth-session pie:$(BUILD)/berth-session-exec static-pie:$(BUILD)/berth-init static-go:$(BUILD)/berth-guest module:$(BUILD)/pam_berth.so
FUZZTIME ?= 20s
export PREFIX DESTDIR PAM_MODULE_DIR

.PHONY: build deps image demo test cover test-hosts test-tools lint bench fuzz install install-sshd install-pam uninstall clean help

# berth-session is no PIE: relocating a static one took 0.3 of 2.3 ms, and it has no right to guard.
build: export CGO_CFLAGS := $(shell scripts/cflags)
build: ## build everything into build/ (the default)
	@mkdir -p $(BUILD)
	$(GOBUILD) $(TAGS) -buildmode=pie -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -linkmode=external -extldflags=$(RELRO)' -o $(BUILD)/berth ./helper/cmd/berth
	$(GOBUILD) $(TAGS)netgo,osusergo -ldflags '-s -w -linkmode=external -extldflags "-static $(RELRO)"' -o $(BUILD)/berth-session ./helper/cmd/berth-session
	$(GOBUILD) $(TAGS) -buildmode=pie -ldflags '-s -w -linkmode=external -extldflags=$(RELRO)' -o $(BUILD)/berth-session-exec ./helper/cmd/berth-session-exec
	$(CC) -std=gnu11 -Wall -Wextra -Werror $(CGO_CFLAGS) -Ihelper/internal/host/process -static-pie -fPIE $(RELRO) -s -o $(BUILD)/berth-init helper/cmd/berth-init/*.c
	CGO_ENABLED=0 $(GOBUILD) $(TAGS) $(LDFLAGS) -o $(BUILD)/berth-guest ./helper/cmd/berth-guest
	COVER=$(COVER) sh pam/build.sh $(BUILD)/pam_berth.so
	scripts/hardening $(HARDENED)

deps: ## install what building and testing need (Debian, Ubuntu), and see that an engine runs
	scripts/deps

image: ## make the images berth:latest and berth:busybox
	image/build

demo: deps ## a throw-away host; ends at alice's prompt inside the container
	@$(MAKE) --no-print-directory -s build image
	scripts/demo

test: deps ## install what is missing and run every check and test
	$(MAKE) --no-print-directory build image lint
	scripts/test

cover: deps ## which lines the tests reach, of what is built; fails below scripts/coverage.floor
	$(MAKE) --no-print-directory build image
	scripts/test cover

test-hosts: deps ## berth on whole Debian 12 and 13 hosts under qemu; many minutes
	test/hosts/deps
	$(MAKE) --no-print-directory build image
	$(GO) test -tags hosts -count=1 -timeout 2h -v ./test/hosts

test-tools: deps ## editors, compilers, debuggers in the container, with an image of their own (1.2 GB)
	$(MAKE) --no-print-directory build
	image/build --tools
	$(GO) test -tags tools -count=1 -v ./test/tools

lint:
	scripts/lint

bench: deps ## medians and ratios, side by side in one run
	@$(MAKE) --no-print-directory -s build image
	$(GO) run ./scripts/bench
	$(GO) test -run '^$$' -bench . ./pam/

fuzz: ## every fuzz target for FUZZTIME (20s)
	scripts/fuzz $(FUZZTIME)

install: ## install what was built: DESTDIR, PREFIX (/usr), PAM_MODULE_DIR
	scripts/install

install-sshd: ## have PAM and sshd confine group berth; keeps the old files
	scripts/install-sshd

install-pam: ## the PAM module alone, with its manual page
	scripts/install-pam

uninstall: ## remove it again; the configuration and homes stay
	scripts/uninstall

clean:
	rm -rf build

help: ## this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
