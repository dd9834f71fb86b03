# The only commands a newcomer needs. Each installs what it lacks into .venv first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
TRIALS := chaos-single chaos-failpoints chaos-freeze chaos-poison chaos-spot chaos-soak
.PHONY: help install demo up test full check lint lock audit sbom bench parity chaos chaos-short chaos-mutants $(TRIALS) clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One line per download in place of pip's hundreds.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input
BRIEF := awk '/^ *(Downloading|Installing|Processing)/ { print "    " substr($$0, 1, 100); fflush() }'
PYTEST := $(BIN)/python -m pytest
# Processes with services of their own; the large files come first. What has limits in seconds runs afterwards, with
# no more than one other beside it, and a farm under fire alone.
# Three on two cores, and six at most: each takes up to 2 GB.
SHARED := --numprocesses $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 5 ? n + 1 : 6))) --dist loadfile --no-loadscope-reorder
PAIRED := --numprocesses 2 --dist loadfile --no-loadscope-reorder

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Install everything into .venv (about 2 GB with the CPU build of torch)

demo: $(STAMP) ## Start a farm here, render four prompts into demo/, stop it again
	@$(BIN)/python -m latentfarm.cli.app demo

up: $(STAMP) ## Start a farm here with a database, a broker and an object store of its own
	@$(BIN)/latentfarm up

# Processes share the cores, and pictures are compared: one torch thread each.
test full: export OMP_NUM_THREADS := 1
# Many shells of containers forbid it: then hundreds of processes would compile the farm's sources, each for itself.
test full: export PYTHONDONTWRITEBYTECODE :=
# Types are checked beside the tests: alone they leave a core idle for a minute.
test: lint ## Check, and run all tests against real services (20 to 40 minutes on 2 cores)
	@$(BIN)/mypy & types=$$!; \
	$(PYTEST) $(SHARED) -m 'not long and not gpu and not clock' tests; tests=$$?; \
	wait $$types && exit $$tests
	@$(PYTEST) $(PAIRED) -m 'clock and not long' tests/acceptance
	@$(PYTEST) -m 'clock and not long' tests/chaos

full: check ## As test, with the whole sets
	@$(PYTEST) $(SHARED) -m 'not gpu and not clock' tests
	@$(PYTEST) -m clock tests/acceptance tests/chaos

check: lint ## Lint, formatting, types, who may import whom
	@$(BIN)/mypy

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo

# Needs no installation to be up to date: that needs a lock that fits.
lock: ## Write requirements.lock anew by pyproject.toml; pins that still fit stay, but for UPGRADE="name ..."
	@test -x $(BIN)/pip-compile || $(MAKE) install
	@$(BIN)/python -m tests.locking --quiet $(UPGRADE:%=--upgrade-package %) pyproject.toml

audit: $(STAMP) ## Hold all pins against known advisories; fails when they cannot be had
	@$(BIN)/python -m tests.audit

# A test holds it against the schema, in a tenth of a second; the tool itself takes half a minute.
sbom: $(STAMP) ## Write dist/sbom.cdx.json: all that is installed here, as CycloneDX
	@mkdir -p dist
	@$(BIN)/cyclonedx-py environment --spec-version 1.6 --no-validate --output-reproducible --pyproject pyproject.toml \
	  --output-file dist/sbom.cdx.json $(BIN)/python

bench: $(STAMP) ## Measure speed against rivals, all that needs no GPU; writes docs/benchmarks.md
	@$(BIN)/python -m benchmarks speed --write

parity: $(STAMP) ## Hold 250 drawn parameter sets against diffusers, through a whole farm
	@$(BIN)/python -m benchmarks parity

chaos chaos-short chaos-mutants $(TRIALS): export OMP_NUM_THREADS := 1
chaos: $(STAMP) ## Break a farm 150 times under 3,000 renders; SEED=n again the same, SIZE=large 600 times
	@$(BIN)/python -m tests.chaos run $(if $(SEED),--seed $(SEED)) $(if $(SIZE),--size $(SIZE))

chaos-short: $(STAMP) ## The same with 300 renders and 30 faults, in under 3 minutes
	@$(BIN)/python -m tests.chaos short $(if $(SEED),--seed $(SEED))

chaos-mutants: $(STAMP) ## Break the code itself, one way at a time: each must turn a chaos run red
	@$(BIN)/python -m tests.chaos mutants $(ONLY)

chaos-single: ## One fault at a time, each kind five times: how long until work goes on
chaos-failpoints: ## Kill -9 between claim, step, checkpoint, put, commit and hand-over, twenty times each
chaos-freeze: ## Stop workers for two leases and wake them, forty times
chaos-poison: ## Poison among healthy renders for ten minutes
chaos-spot: ## Take workers away with 20 s notice, fifty times
chaos-soak: ## 20,000 renders with a fault a minute: does anything grow

$(TRIALS): $(STAMP)
	@$(BIN)/python -m tests.chaos $(@:chaos-%=%) $(if $(SEED),--seed $(SEED))

clean: ## Remove what was built here; a farm's data in .latentfarm/ stays
	@rm -rf $(VENV) build dist demo tests/contract/stock/node/node_modules ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Wheels only: a source package runs code of its own, and fetches what builds it without any hash. Nothing is resolved,
# so that nothing comes that is not named. torch comes by version, see torch.txt.
$(STAMP): pyproject.toml requirements.lock torch.txt | $(VENV)/pyvenv.cfg
	@echo "==> installing what requirements.lock names, each file held against its hash"
	@set -o pipefail; $(PIP) --require-hashes --no-deps --only-binary :all: --requirement requirements.lock | $(BRIEF)
	@echo "==> installing torch (the largest download)"
	@set -o pipefail; $(PIP) --requirement torch.txt | $(BRIEF)
	@set -o pipefail; $(PIP) --no-deps --no-build-isolation --editable . | $(BRIEF)
	@$(BIN)/python -m pip check --disable-pip-version-check
	@touch $@

$(VENV)/pyvenv.cfg:
	@for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if test -z "$$python"; then echo "latentfarm needs Python 3.11 or newer; PATH has none" >&2; exit 1; fi; \
	echo "==> creating $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian and Ubuntu: install python3-venv" >&2; exit 1; }
