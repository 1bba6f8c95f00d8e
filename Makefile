# SPDX-License-Identifier: Apache-2.0
# `make help` lists what there is to make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

GO ?= go
DATA ?= data
# In a work tree of another owner, asking git for the revision would fail.
export GOFLAGS := $(strip $(filter-out -buildvcs=%,$(GOFLAGS)) -buildvcs=false)

# Linters at one version for everybody; each is in a file that names it.
GOFUMPT := bin/tools/gofumpt-v0.12.0
STATICCHECK := bin/tools/staticcheck-v0.8.2
GOVULNCHECK := bin/tools/govulncheck-v1.9.0
# An ACME authority for tests; internal/server names the version, too.
PEBBLE := bin/tools/pebble-v2.10.1
TOOLS := $(GOFUMPT) $(STATICCHECK) $(GOVULNCHECK) $(PEBBLE)

# What the app is built from.
APP_SOURCES := $(shell find web -type d \( -name node_modules -o -name dist -o -name e2e -o -name placeholder \) -prune -o -type f ! -name '*.go' -print)

.PHONY: help need run demo build app server check test fuzz bench lint release clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build app and server, and start it here with two invite links; data in ./data
	@exec bin/bavard serve --data $(DATA) --insecure-loopback --demo-invites

demo: build ## three nodes on this machine, to take away in a browser
	@exec bin/bavard demo

build: app server ## build the app and bin/bavard

need:
	@scripts/need.sh go node

# The app is built when a file of it has changed.
app: need bin/.app-built
	@if ! test -f web/dist/index.html || ! test -f web/dist/sw.js; then \
		rm -f bin/.app-built; $(MAKE) --no-print-directory bin/.app-built; fi
	@if cmp -s web/dist/index.html web/placeholder/index.html; then \
		echo 'make: web/dist holds the placeholder page, not the app: make clean, and again' >&2; exit 1; fi

bin/.app-built: $(APP_SOURCES) web/node_modules/.package-lock.json
	cd web && npm run build
	@mkdir -p bin && touch $@

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	cd web && npm ci --no-audit --no-fund
	@touch $@

# The client libraries that the tests drive.
interop/node/node_modules/.package-lock.json: interop/node/package.json interop/node/package-lock.json
	cd interop/node && npm ci --omit=optional --no-audit --no-fund
	@touch $@

# Go knows itself what has changed. Without C, so that no compiler is needed
# and the program runs anywhere.
server: app
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/bavard .

$(GOFUMPT): MODULE := mvdan.cc/gofumpt
$(STATICCHECK): MODULE := honnef.co/go/tools/cmd/staticcheck
$(GOVULNCHECK): MODULE := golang.org/x/vuln/cmd/govulncheck
$(PEBBLE): MODULE := github.com/letsencrypt/pebble/v2/cmd/pebble
$(TOOLS): bin/tools/%:
	@mkdir -p bin/tools
	GOBIN=$(CURDIR)/bin/tools GOFLAGS= $(GO) install $(MODULE)@$(lastword $(subst -, ,$*))
	@mv bin/tools/$(notdir $(MODULE)) $@

lint: $(GOFUMPT) $(STATICCHECK) ## gofumpt, go vet, staticcheck
	@scripts/step.sh gofumpt scripts/gofumpt.sh $(GOFUMPT)
	@scripts/step.sh 'go vet' $(GO) vet ./...
	@scripts/step.sh staticcheck $(STATICCHECK) ./...

check: build $(GOFUMPT) $(STATICCHECK) $(PEBBLE) ## the quick part of the tests, under 5 minutes
	@scripts/check.sh

test: need $(TOOLS) ## everything, some 40 minutes on two processors (BAVARD_LONG=1: crashes more often); as root it installs the Debian packages that it needs
	@scripts/test.sh

fuzz: ## each fuzz test for FUZZTIME (10s)
	@scripts/fuzz.sh

bench: ## the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

release: build ## bin/release: bavard for Linux and macOS
	@scripts/release.sh

clean: ## remove what was built; data stays
	rm -rf bin web/node_modules interop/node/node_modules
	find web/dist -mindepth 1 ! -name .gitkeep -delete
