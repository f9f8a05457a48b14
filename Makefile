# Monohull. `make up` on a bare machine; `make test` before a commit. `make` alone lists the targets.

SHELL := /bin/bash
CARGO := scripts/cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Of which images: empty for all, `test` for the few that the tests need, or names.
SUBSET ?=
# Suites of Debian whose containerd is tested; empty for all known.
SUITES ?=
# Which machines of test-guests: empty for all, or names.
KINDS ?=
# FORCE=1: clean-node does not ask.
FORCE ?=

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

# --- a node ---

.PHONY: up
up: ## start the platform on this machine, installing what is missing
	@scripts/up

.PHONY: down
down: ## stop the platform; instances and data stay
	@hull down

.PHONY: clean-node
clean-node: ## remove the platform with its instances and data, after asking
	@FORCE=$(FORCE) scripts/clean-node

.PHONY: images
images: ## build the starter images and serve them on this machine (SUBSET=test for a few, REFRESH=1 for newer packages)
	@scripts/packages test build
	@python3 images/build.py up $(if $(REFRESH),--refresh) $(SUBSET)

# --- the code ---

.PHONY: console
console: ## build the console, which the binary carries
	@scripts/console

.PHONY: build
build: console ## build the release binary
	@$(CARGO) build --release --locked --bin hull

.PHONY: test
test: lint e2e test-docker ## everything that needs no accelerator

.PHONY: lint
lint: ## format, clippy, dependencies, scripts
	@scripts/packages build lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@scripts/lint

.PHONY: unit
unit: ## tests that need no root
	@scripts/test unit

.PHONY: e2e
e2e: ## tests with real containers; they need root
	@scripts/test e2e

.PHONY: engines
engines: ## the tests that concern containerd, on other versions of it (SUITES="trixie sid")
	@scripts/engines $(SUITES)

.PHONY: test-guests
test-guests: console ## an operator's days on bare machines, each a virtual one (KINDS="trixie ..." for some)
	@scripts/packages test guests
	@$(CARGO) build --release --locked --bin hull
	@python3 images/build.py up --no-config test
	@python3 tests/guests/run.py $(KINDS)

.PHONY: test-docker
test-docker: ## run the Docker scenarios against a platform of their own on this machine
	@scripts/test docker

.PHONY: test-docker-engine
test-docker-engine: ## run the Docker scenarios against Docker Engine itself, in a place of its own
	@scripts/packages test
	@tests/docker/clients
	@trap 'tests/docker/engine down' EXIT; tests/docker/engine up && tests/docker/engine exec tests/docker/suite.py

.PHONY: test-docker-clients
test-docker-clients: ## drive what DOCKER_HOST names with clients that nobody here wrote
	@scripts/packages test
	@tests/docker/clients
	@tests/docker/others/run.py

.PHONY: bench
bench: ## measure beside runc, ctr, Docker Engine and Podman on this machine
	@benches/run

.PHONY: clean
clean: ## remove what was built
	@$(CARGO) clean
