# The one list of commands. CI calls the same ones.
VENV   ?= .venv
PYTHON ?= python3
# Processes that run the tests, each with servers of its own.
WORKERS ?= 2
BIN    := $(VENV)/bin
MEMBERS := shared services/firehose-backfill services/repo-backfill services/indexer services/api-gateway deploy/local

.DEFAULT_GOAL := help
.PHONY: help setup run demo test lint bench lock clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(VENV)/.installed ## virtual environment with the pinned, hashed requirements

$(VENV)/.installed: requirements.lock $(MEMBERS:=/pyproject.toml)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headwater needs Python 3.11 or later")'
	@echo "setting up $(VENV) from requirements.lock; this takes a minute or two the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@touch $@

lock: $(VENV)/.installed ## pin and hash every dependency again, from the members' pyproject files
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --no-emit-package headwater $(foreach m,shared firehose-backfill repo-backfill indexer api-gateway,--no-emit-package headwater-$(m)) \
	  --group dev pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --no-emit-package headwater-shared --constraint requirements.lock \
	  shared/pyproject.toml services/*/pyproject.toml --output-file deploy/docker/requirements.lock

run: setup ## the whole stack in the foreground, with embedded Postgres and NATS (ARGS="--workers indexer=2")
	@$(BIN)/headwater up $(ARGS)

demo: setup ## the whole of it without the internet: a local network, backfills, a gap closed, an account to log in with
	@$(BIN)/python deploy/demo.py $(ARGS)

test: setup ## every test (ARGS="-k name"; ARGS="--backend=containers" takes Postgres and NATS from Docker)
	@if command -v npm > /dev/null; then tests/e2e/pds/install.sh; \
	  if [ -n "$$CI" ] || [ -x /usr/bin/chromium ]; then tests/e2e/browser/install.sh; fi; \
	elif [ -n "$$CI" ]; then echo "npm is missing: in CI the tests against a real PDS must run" >&2; exit 1; \
	else echo "npm is missing: the tests against a real PDS are skipped"; fi
	$(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile $(ARGS)

lint: setup ## style, types and import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

BENCH_PYTHON = $(shell tests/bench/interpreter.sh $(PYTHON))
BENCH_VENV = $(if $(filter $(PYTHON),$(BENCH_PYTHON)),$(VENV),.venv-bench)

bench: ## measures, with the fastest Python of its version on PATH, and writes bench/RESULTS.md
	@$(MAKE) --no-print-directory setup PYTHON=$(BENCH_PYTHON) VENV=$(BENCH_VENV)
	PYTHONPATH=tests $(BENCH_VENV)/bin/python -m bench $(ARGS)

clean: ## remove what can be made again: the environment and the caches; the data in .headwater stays
	rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/e2e/pds/node_modules tests/e2e/browser/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
