# Binkeeper. `make run` runs it, `make test` tests it; both set everything up first.
# Needs Python 3.11+ and make, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

ARGS ?=
TESTS ?= tests
FUZZ ?=
CASES ?=
SEED ?=
ROUNDS ?= 1
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := engine actors persistence api bench simulation binkeeper
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate

.PHONY: help
help: ## list what there is to make
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: run
run: $(VENV)/runtime.stamp ## run Binkeeper with a demo warehouse until Ctrl-C; ARGS="--port 9000"
	@exec $(BIN)/binkeeper up $(ARGS)

.PHONY: test
test: lint ## pass the linters and all tests; TESTS=tests/unit for a part
	@$(BIN)/python -m pytest $(TESTS) $(ARGS)

.PHONY: lint
lint: $(VENV)/dev.stamp ## ruff, mypy and import-linter
	@$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .
	echo "ruff: clean"
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --cache-dir .import_linter_cache

.PHONY: format
format: $(VENV)/dev.stamp ## let ruff fix and format
	@$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

.PHONY: fuzz
fuzz: $(VENV)/dev.stamp ## attack the product from outside for minutes; FUZZ="lanes http" CASES=1000 SEED=7
	@$(BIN)/python -m tests.fuzz $(FUZZ) $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: bench
bench: $(VENV)/dev.stamp ## measure against peers, in 15 to 17 minutes; writes a report to bench/results
	@$(BIN)/binkeeper bench $(ARGS)

.PHONY: bench-quick
bench-quick: $(VENV)/dev.stamp ## the same figures from less of everything, in two minutes; ARGS="--json"
	@$(BIN)/binkeeper bench --quick $(ARGS)

.PHONY: limits
limits: $(VENV)/dev.stamp ## measure how far the figures could go, around a host that decides nothing
	@$(BIN)/binkeeper bench limits $(ARGS)

.PHONY: simulate
simulate: $(VENV)/dev.stamp ## play 500 seeded histories with faults; ARGS="--runs 100 --seed 7"
	@$(BIN)/binkeeper simulate --runs 500 --jobs 2 $(ARGS)

.PHONY: simulate-mutants
simulate-mutants: $(VENV)/dev.stamp ## see that the simulation finds each seeded bug
	@$(BIN)/binkeeper simulate --mutants $(ARGS)

.PHONY: overload
overload: $(VENV)/dev.stamp ## offer 1.5 and 3 times what this machine carries, in three minutes; ARGS="--json"
	@$(BIN)/binkeeper bench overload $(ARGS)

.PHONY: nodes
nodes: $(VENV)/dev.stamp ## lose and add nodes of a Ray cluster of three on this machine, in six minutes
	@$(BIN)/python -m pytest tests/nodes/three_nodes.py -s -k come_and_go $(ARGS)

.PHONY: recovery
recovery: $(VENV)/dev.stamp ## kill what serves 1,000,000 bins, ten times each; ARGS="--bins 10000 --only host"
	@$(BIN)/python -m tests.recovery $(ARGS)

.PHONY: faults
faults: $(VENV)/dev.stamp ## play every fault on the real thing, ROUNDS=1 times; ARGS="--only host"
	@$(BIN)/python -m tests.faults --rounds $(ROUNDS) $(ARGS)

.PHONY: venv
venv: $(VENV)/dev.stamp ## only set up the environment

.PHONY: lock
lock: $(VENV)/uv.stamp ## resolve the dependencies anew into the lock files
	@printf 'uv>=0.9\nhatchling==1.27.0\neditables\n' | $(COMPILE) - -o requirements-installer.lock
	$(COMPILE) pyproject.toml -o requirements.lock
	$(COMPILE) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock
	! grep -nE '://' requirements*.lock

.PHONY: clean
clean: ## remove the environment and what tools left (never the data in .binkeeper)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is newer than what it was made from, so the second run starts at once.
$(VENV)/uv.stamp: requirements-installer.lock .ci/venv .ci/python_speed.py
	@.ci/venv $(VENV) requirements-installer.lock
	touch $@

$(VENV)/runtime.stamp: $(VENV)/uv.stamp requirements.lock pyproject.toml
	@echo "installing Binkeeper's dependencies (about a minute the first time)"
	.ci/venv-install $(VENV) requirements.lock
	touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements-dev.lock
	@echo "installing the test tools"
	.ci/venv-install $(VENV) requirements-dev.lock
	touch $@
