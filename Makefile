# SPDX-License-Identifier: Apache-2.0

PREFIX ?= /usr
DESTDIR ?=
PAM_MODULE_DIR ?= $(patsubst %/pam_unix.so,%,$(firstword $(wildcard /usr/lib/*/security/pam_unix.so /lib/*/security/pam_unix.so /usr/lib64/security/pam_unix.so /lib/security/pam_unix.so)))
GO ?= go
LDFLAGS = -trimpath -ldflags '-s -w'
FUZZTIME ?= 20s
export PREFIX DESTDIR PAM_MODULE_DIR

.PHONY: build deps image demo test test-hosts lint bench fuzz install install-pam uninstall clean help

build: ## build everything into build/ (the default)
	@mkdir -p build
	$(GO) build $(LDFLAGS) -o build/berth ./helper/cmd/berth
	$(GO) build -tags netgo,osusergo -trimpath -ldflags '-s -w -linkmode=external -extldflags=-static' -o build/berth-session ./helper/cmd/berth-session
	$(GO) build $(LDFLAGS) -o build/berth-session-docker ./helper/cmd/berth-session-docker
	CGO_ENABLED=0 $(GO) build $(LDFLAGS) -o build/berth-enter ./helper/cmd/berth-enter
	sh pam/build.sh build/pam_berth.so

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

test-hosts: deps ## berth on whole Debian 12 and 13 hosts under qemu; many minutes
	hosts/deps
	$(MAKE) --no-print-directory build image
	$(GO) test -tags hosts -count=1 -timeout 2h -v ./hosts

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

install-pam: ## the PAM module alone, with its manual page
	scripts/install-pam

uninstall: ## remove it again; the configuration and homes stay
	scripts/uninstall

clean:
	rm -rf build

help: ## this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
